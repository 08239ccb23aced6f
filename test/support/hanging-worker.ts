import { setTimeout as sleep } from "node:timers/promises";
import { serveWorker } from "@florence/worker/server";

// Longer than the tests' callers wait; a worker that never answered would hold up its own disposal for longer.
const hangsMs = 2_000;

/** A vision worker that takes images and gives nothing back. */
await serveWorker(() => ({
  methods: {
    encode: async (): Promise<never> => {
      await sleep(hangsMs);
      throw new Error("nothing came of it");
    },
  },
}));

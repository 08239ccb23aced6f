import { setTimeout as sleep } from "node:timers/promises";
import { describe } from "vitest";
import { findOrGetNatsServer } from "./find.ts";
import { type NatsServer, type NatsServerOptions, startNatsServer } from "./server.ts";

const found = await findOrGetNatsServer();

/** A group of tests that need a nats-server; where none can be had, stderr says which did not run and why. */
export function describeWithNats(name: string, tests: () => void): void {
  if (typeof found !== "string") process.stderr.write(`Not run: ${name}. ${found.missing}\n`);
  describe.runIf(typeof found === "string")(name, tests);
}

/** Starts the server that was found; call it within describeWithNats. */
export function startServer(options: Omit<NatsServerOptions, "binary"> = {}): Promise<NatsServer> {
  return startNatsServer({ binary: String(found), ...options });
}

/** Waits until `condition` holds; the test's own time limit ends it otherwise. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}

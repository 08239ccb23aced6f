// Loaded before the program by topology.ts, which holds a channel to it. The channel closes when that process dies, even by SIGKILL; the
// program then stops as if it had been asked to, and is no orphan. (scripts/lifeline.mjs does the same for scripts that must stand alone.)

import { isMainThread } from "node:worker_threads";

if (isMainThread && process.channel) {
  process.once("disconnect", () => process.kill(process.pid, "SIGHUP"));
  process.channel.unref(); // A program that has nothing left to do ends in spite of the channel.
}

// Loaded before the program that run.mjs starts. The channel between the two closes when run.mjs
// dies, even by SIGKILL; the program then stops as if it had been asked to, and is no orphan.

import { isMainThread } from "node:worker_threads";

if (isMainThread && process.channel) {
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
  process.channel.unref(); // A program that has nothing left to do ends in spite of the channel.
}

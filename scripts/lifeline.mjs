// Loaded before the program that run.mjs starts. The channel between the two closes when run.mjs
// dies, even by SIGKILL; the program then stops as if its terminal had gone, and is no orphan. SIGHUP, since a
// program that is stopping already would take SIGTERM for a second, impatient request.

import { isMainThread } from "node:worker_threads";

if (isMainThread && process.channel) {
  process.once("disconnect", () => process.kill(process.pid, "SIGHUP"));
  process.channel.unref(); // A program that has nothing left to do ends in spite of the channel.
}

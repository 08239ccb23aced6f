import { isMainThread } from "node:worker_threads";

// onnxruntime keeps an id of the machine and a record of its sessions under the user's cache folder unless this is set when it loads. Its
// native code reads the process's own environment, and a worker thread can write only to a copy: the main thread has to set it.
if (isMainThread) process.env.ORT_DISABLE_TELEMETRY ??= "1";

/** Whether the runtime has been told to keep no records; a worker sees in its copy whether the main thread did so before it started. */
export const runtimeIsTold: boolean = process.env.ORT_DISABLE_TELEMETRY !== undefined;

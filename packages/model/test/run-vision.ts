// A program for telemetry.test.ts, as a process or as a worker thread: runs the vision graph of the built folder that it is given.

import { isMainThread, workerData } from "node:worker_threads";
import { readManifest } from "../src/compile/manifest.ts";
import { cpu, VisionModel } from "../src/inference/index.ts";

const folder: string = isMainThread ? process.argv[2] : workerData;
const manifest = readManifest(folder);
await using vision = await VisionModel.load(folder, manifest, cpu(1));
await vision.encode(new Uint8Array(manifest.config.preprocess.size ** 2 * 3), 1);

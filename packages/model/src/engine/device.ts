import { availableParallelism } from "node:os";
import type { Engine, Session } from "./engine.ts";
import { onnxruntimeCpu } from "./onnxruntime.ts";

/** Every execution provider by its name: a new one is its engine's file and a row here. */
export const engines = { "onnxruntime-cpu": onnxruntimeCpu } as const satisfies Record<string, Engine>;

export type Provider = keyof typeof engines;

/** What graphs run on. A plain value, so that it can be sent to a worker. */
export interface Device {
  readonly provider: Provider;
  /** Cores that one run may use. */
  readonly threads: number;
}

/** The processor itself. `threads`: cores that one run may use; 0 stands for all of them. */
export function cpu(threads = 0): Device {
  return { provider: "onnxruntime-cpu", threads: threads || availableParallelism() };
}

/** Loads a graph file on a device. Rejects when the file is missing or is no graph that the device's engine can run. */
export function openGraph(file: string, { provider, threads }: Device): Promise<Session> {
  return engines[provider].open(file, threads);
}

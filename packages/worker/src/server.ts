import { parentPort, type Transferable, workerData } from "node:worker_threads";
import { Fault } from "@florence/service";
import { type FromWorker, type ToWorker, toWire } from "./protocol.ts";

/** What a worker's method knows of its call besides the payload. */
export interface WorkerCallContext {
  /** Aborts when the caller gave up or the worker is closing. */
  readonly signal: AbortSignal;
  /** Sends something to the caller before the result. */
  emit(event: unknown): void;
}

/** The methods of a worker. Payloads and results must be structured-cloneable. */
export type WorkerMethods = Readonly<
  // biome-ignore lint/suspicious/noExplicitAny: a method's own payload type is narrower than unknown.
  Record<string, (payload: any, context: WorkerCallContext) => Promise<unknown>>
>;

/** The methods, with what must be released when the worker closes. */
export interface WorkerService<M extends WorkerMethods> {
  readonly methods: M;
  /** Called once no call is under way. */
  dispose?(): Promise<void> | void;
}

class Transferred<T> {
  readonly value: T;
  readonly list: readonly Transferable[];

  constructor(value: T, list: readonly Transferable[]) {
    this.value = value;
    this.list = list;
  }
}

/** Returned from a worker's method, moves the listed buffers to the caller instead of copying them. */
export function transferring<T>(value: T, list: readonly Transferable[]): T {
  // The caller's WorkerClient sees the value itself, so that is the type.
  return new Transferred(value, list) as T;
}

/**
 * The worker's side of a WorkerClient: call it once, at the top of the worker's file. `start` loads what the methods
 * need; its error reaches WorkerClient.start. Calls run side by side in the order they came: the client bounds them.
 */
export async function serveWorker<Data, M extends WorkerMethods>(
  start: (workerData: Data) => Promise<WorkerService<M>> | WorkerService<M>,
): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error("serveWorker runs in a worker thread only.");
  const post = (message: FromWorker, transfer: readonly Transferable[] = []) => port.postMessage(message, transfer);
  let service: WorkerService<M>;
  try {
    service = await start(workerData as Data);
  } catch (error) {
    post({ type: "failed", error: toWire(error) });
    return;
  }
  const calls = new Map<number, { controller: AbortController; done: Promise<void> }>();

  const answer = async (id: number, method: string, payload: unknown, signal: AbortSignal): Promise<void> => {
    try {
      const handler = service.methods[method];
      if (handler === undefined) throw new Error(`The worker has no method ${method}.`);
      const value = await handler(payload, { signal, emit: (event) => post({ type: "event", id, event }) });
      if (value instanceof Transferred) post({ type: "result", id, value: value.value }, value.list);
      else post({ type: "result", id, value });
    } catch (error) {
      post({ type: "error", id, error: toWire(error) });
    } finally {
      calls.delete(id);
    }
  };

  const close = async (): Promise<void> => {
    for (const { controller } of calls.values()) controller.abort(new Fault("unavailable", "The service is stopping."));
    await Promise.all([...calls.values()].map(({ done }) => done));
    await service.dispose?.();
    // Nothing holds the thread any more, so it ends by itself.
    port.close();
  };

  port.on("message", (message: ToWorker) => {
    if (message.type === "call") {
      const controller = new AbortController();
      const done = answer(message.id, message.method, message.payload, controller.signal);
      calls.set(message.id, { controller, done });
    } else if (message.type === "cancel") {
      calls.get(message.id)?.controller.abort(new Fault("cancelled", "The caller went away."));
    } else {
      void close();
    }
  });
  post({ type: "ready" });
}

import { Fault, isFaultCode } from "@florence/service";

/** From the thread that calls to the worker. */
export type ToWorker =
  | { readonly type: "call"; readonly id: number; readonly method: string; readonly payload: unknown }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "close" };

/** From the worker to the thread that calls. */
export type FromWorker =
  | { readonly type: "ready" }
  | { readonly type: "failed"; readonly error: WireError }
  | { readonly type: "event"; readonly id: number; readonly event: unknown }
  | { readonly type: "result"; readonly id: number; readonly value: unknown }
  | { readonly type: "error"; readonly id: number; readonly error: WireError };

/** An error as it crosses the thread: structured cloning would drop its class and its own fields. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly detail: string | undefined;
  readonly retryAfterS: number | undefined;
}

/** Takes an error apart for the crossing. */
export function toWire(error: unknown): WireError {
  const source = (error instanceof Error ? error : new Error(String(error))) as Error & Partial<Fault>;
  return {
    name: source.name,
    message: source.message,
    stack: source.stack,
    code: typeof source.code === "string" ? source.code : undefined,
    detail: source.detail,
    retryAfterS: source.retryAfterS,
  };
}

/** Puts an error together again: a Fault where its code is in the table, else an Error with name and code. */
export function fromWire(wire: WireError): Error {
  const original = new Error(wire.message);
  original.name = wire.name;
  if (wire.stack !== undefined) original.stack = wire.stack;
  if (!isFaultCode(wire.code)) return Object.assign(original, wire.code !== undefined && { code: wire.code });
  return new Fault(wire.code, wire.detail ?? wire.message, {
    cause: original,
    internal: wire.message,
    ...(wire.retryAfterS !== undefined && { retryAfterS: wire.retryAfterS }),
  });
}

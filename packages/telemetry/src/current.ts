import { AsyncLocalStorage } from "node:async_hooks";
import type { Span } from "@opentelemetry/api";

// W3C's flag; the enum of OpenTelemetry would load its API, which a process that tells nothing does without.
const sampledFlag = 1;

/** A call that is being served: what spans hang on, and what listeners keep of it. */
export class Call {
  /** Absent where no traces are made. */
  readonly span: Span | undefined;
  /** performance.now() at its begin. */
  readonly beganMs = performance.now();
  // The system's clock is asked once a call, so that its spans in this process fit each other to the microsecond, and those of a process
  // that has run for weeks fit those of others.
  readonly #beganUnixMs = Date.now();
  readonly #ends: (() => void)[] = [];
  #ended = false;

  /** `begin` starts its span at a time in Unix milliseconds. */
  constructor(begin?: (startTime: number) => Span) {
    this.span = begin?.(this.#beganUnixMs);
  }

  /** A moment by performance.now() as Unix milliseconds. */
  unixMs(atMs: number): number {
    return this.#beganUnixMs + atMs - this.beganMs;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether spans of it are kept. */
  get sampled(): boolean {
    return this.span !== undefined && (this.span.spanContext().traceFlags & sampledFlag) !== 0;
  }

  /** Has `listener` called once, when the call ends. */
  onEnd(listener: () => void): void {
    this.#ends.push(listener);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const listener of this.#ends) listener();
    this.span?.end(this.unixMs(performance.now()));
  }
}

// One for the process: which call it is that work belongs to does not depend on who wants to know.
export const serving = new AsyncLocalStorage<Call>();

/** The call in whose work this is asked. It may have ended: others may wait for work that was begun for it. */
export function currentCall(): Call | undefined {
  return serving.getStore();
}

/** What a line of the log says of the call that it belongs to. */
export function logFields(): object {
  const context = currentCall()?.span?.spanContext();
  return context ? { trace_id: context.traceId, span_id: context.spanId } : {};
}

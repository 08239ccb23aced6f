/** What goes with one request through the gateway: its id and its end. */
export interface Call extends Disposable {
  readonly requestId: string;
  /** Fires when the client goes away, the answer is given up, or the deadline has passed (then with a TimeoutError). */
  readonly signal: AbortSignal;
  /** Milliseconds since the request came in. */
  elapsedMs(): number;
  /** Milliseconds until the deadline, at least 1. */
  remainingMs(): number;
  /** For a call to a service: it ends with this one, and may take a share of the time that is left; all by default. */
  upstreamOptions(share?: number): { signal: AbortSignal; deadlineMs: number };
  /** Gives the call up. */
  abort(): void;
}

/** Begins a call of at most `deadlineMs`. Dispose it when the answer is complete. */
export function beginCall(requestId: string, client: AbortSignal, deadlineMs: number): Call {
  const begin = performance.now();
  const controller = new AbortController();
  const { signal } = controller;
  // Runtimes give all kinds of reasons for a client that went away; inside there is one.
  const onGone = () => controller.abort();
  client.addEventListener("abort", onGone, { once: true });
  if (client.aborted) onGone();
  const timer = setTimeout(() => {
    controller.abort(new DOMException("The deadline has passed.", "TimeoutError"));
  }, deadlineMs);
  const elapsedMs = () => performance.now() - begin;
  const remainingMs = () => Math.max(1, deadlineMs - elapsedMs());
  return {
    requestId,
    signal,
    elapsedMs,
    remainingMs,
    upstreamOptions: (share = 1) => ({ signal, deadlineMs: Math.max(1, share * remainingMs()) }),
    abort: () => controller.abort(),
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      client.removeEventListener("abort", onGone);
    },
  };
}

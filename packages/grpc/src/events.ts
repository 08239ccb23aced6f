import { createEvents, type Events, event, type Fault, type Listener, type Logger } from "@florence/service";

/** A call that ended: its method's full name, such as florence.v1.Encoder.Encode, and its client's address. */
interface EndedCall {
  readonly method: string;
  readonly peer: string;
  /** Milliseconds from its arrival to its end. */
  readonly ms: number;
}

/** How the calls of a server end. */
export const callEvents = {
  callAnswered: event<EndedCall>("A call was answered, to the end of its stream."),
  callRefused: event<EndedCall & { readonly fault: Fault }>(
    "A call was refused, ran out of time, or was left by its client.",
  ),
  callFailed: event<EndedCall & { readonly fault: Fault }>(
    "A call failed for a reason that its client does not learn.",
  ),
  serverExposed: event<{ readonly address: string }>(
    "A server listens beyond this machine and asks nobody for a proof or a certificate.",
  ),
};

/** Where a server says how its calls end. */
export type CallEvents = Events<typeof callEvents>;

export const unheard: CallEvents = createEvents(callEvents);

// Whoever knocks without a proof may do so a thousand times a second.
const repeatMs = 60_000;

/** Logs calls that went wrong, and a server that is open to everybody. Of callers that prove nothing, one line a minute at most. */
export function logCalls(log: Logger): Listener<typeof callEvents> {
  let warnedAtMs = Number.NEGATIVE_INFINITY;
  return {
    serverExposed: (about) =>
      log.warn(
        about,
        "anyone who reaches this port can use it: set FLORENCE_CLUSTER_SECRET or FLORENCE_TLS_CERT, _KEY and _CA. " +
          "Until then embeddings are fetched from no encoder on another machine",
      ),
    callFailed: ({ method, peer, fault }) => log.error({ method, peer, err: fault }, "call failed"),
    callRefused: ({ method, peer, fault }) => {
      const about = { method, peer, code: fault.code };
      if (fault.code !== "unauthorized" || performance.now() - warnedAtMs < repeatMs) {
        log.debug(about, "call refused");
        return;
      }
      warnedAtMs = performance.now();
      log.warn({ ...about, reason: fault.message }, "a caller without the cluster's secret was refused");
    },
  };
}

import { Admission } from "@florence/service";
import type { GatewayEvents } from "../events.ts";
import type { Limits } from "../limits.ts";
import { HeldBytes, type HeldBytesAccount, type ReadContext } from "./body.ts";
import { beginCall, type Call } from "./call.ts";
import type { Incoming } from "./route.ts";

// An image of 1 MB at 4 Mbit/s. Longer than most bodies take, and short enough that who sends a byte at a time blocks nobody.
const slowBodyMs = 2_000;

/** What the requests of all routes share on their way in: one for a gateway. */
export interface Entrance {
  readonly limits: Limits;
  readonly events: GatewayEvents;
  /** Places among the requests served. */
  readonly places: Admission;
  /** Places among the bodies being received. */
  readonly senders: Admission;
  readonly heldBytes: HeldBytes;
}

export function createEntrance(limits: Limits, events: GatewayEvents): Entrance {
  return {
    limits,
    events,
    places: new Admission({ running: limits.requestsMax, waiting: limits.queueMax }),
    senders: new Admission({ running: limits.uploadsMax, waiting: 0 }),
    heldBytes: new HeldBytes(limits.heldBytesMax),
  };
}

/** What a request that was let in has. All of it ends with the answer, or with whatever `scope` is moved to. */
export interface Admitted {
  readonly call: Call;
  readonly account: HeldBytesAccount;
  readonly scope: DisposableStack;
}

/**
 * Reads a request, then runs its handler with a place among the requests served; both have one deadline and one account of bytes, which
 * are taken back at the end. Throws `overloaded`, what `read` throws and what `handle` throws.
 */
export async function admitted<R>(
  entrance: Entrance,
  { request, requestId }: Incoming,
  read: (request: Request, context: ReadContext) => Promise<R>,
  handle: (read: R, admitted: Admitted) => Promise<Response>,
): Promise<Response> {
  using scope = new DisposableStack();
  const { limits, heldBytes } = entrance;
  const call = scope.use(beginCall(requestId, request.signal, limits.deadlineMs));
  const account = scope.use(heldBytes.open());
  const content = await received(entrance, call, scope, (signal) => read(request, { limits, account, signal }));
  return await handle(content, { call, account, scope });
}

/**
 * Takes a place for `scope`, then reads the body: what will not be served is not received. Who sends slowly gives the place back
 * meanwhile and takes one again at the end of the body.
 */
async function received<R>(
  { places, senders, events }: Entrance,
  call: Call,
  scope: DisposableStack,
  read: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  using _sender = await senders.acquire(call.signal);
  const place = scope.use(await places.acquire(call.signal));
  events.requestAdmitted({ requestId: call.requestId, waitMs: call.elapsedMs() });
  let slow = false;
  const timer = setTimeout(() => {
    slow = true;
    place[Symbol.dispose]();
  }, slowBodyMs);
  try {
    const content = await read(call.signal);
    if (slow) scope.use(await places.acquire(call.signal));
    return content;
  } finally {
    clearTimeout(timer);
  }
}

import { orAborted } from "@florence/service";
import type { GatewayEvents } from "../events.ts";
import type { Limits } from "../limits.ts";
import type { ReadContext } from "./body.ts";
import { beginCall, type Call } from "./call.ts";
import { endedBy } from "./call-end.ts";
import { HeldBytes, type HeldBytesAccount } from "./held-bytes.ts";
import { atCapacity, Places } from "./places.ts";
import type { Incoming } from "./route.ts";
import { Uploads } from "./uploads.ts";

// What ends by itself at its deadline has this long to do so, and to bring along the tasks that have their answers.
const graceMs = 1_000;
// A body of at most so many bytes may be one without an image, for which places are kept.
const lightBytesMax = 64 * 1024;

/** What the requests of all routes share on their way in: one for a gateway. */
export interface Entrance {
  readonly limits: Limits;
  readonly events: GatewayEvents;
  readonly places: Places;
  readonly uploads: Uploads;
  readonly heldBytes: HeldBytes;
}

export function createEntrance(limits: Limits, events: GatewayEvents): Entrance {
  const { requestsMax, queueMax, uploadsMax, heldBytesMax, callerSharePercent, bodyBytesPerSecondMin } = limits;
  const callerShare = (max: number) => Math.ceil((max * callerSharePercent) / 100);
  const reserved = requestsMax - callerShare(requestsMax);
  return {
    limits,
    events,
    places: new Places({ running: requestsMax, reserved, waiting: queueMax }),
    uploads: new Uploads({
      max: uploadsMax,
      callerMax: callerShare(uploadsMax),
      bytesPerSecondMin: bodyBytesPerSecondMin,
    }),
    heldBytes: new HeldBytes(heldBytesMax, callerShare(heldBytesMax)),
  };
}

/** What a request that was let in has. All of it ends with the answer, or with whatever `scope` is moved to. */
export interface Admitted {
  readonly call: Call;
  readonly account: HeldBytesAccount;
  readonly scope: DisposableStack;
}

/** What a route does with its requests. */
export interface Work<R> {
  readonly read: (request: Request, context: ReadContext) => Promise<R>;
  /** Whether what was read is a call without an image. */
  readonly isLight: (content: R) => boolean;
  readonly handle: (content: R, admitted: Admitted) => Promise<Response>;
}

/**
 * Reads a request, then runs its handler with a place among the requests served; both have one deadline and one account of bytes. All of
 * that is taken back at the end, which comes at the deadline and a moment at the latest, whatever the reading and the handling wait for.
 * Throws `overloaded`, `body_too_slow`, `deadline_exceeded`, and what `read` and `handle` throw.
 */
export async function admitted<R>(entrance: Entrance, incoming: Incoming, work: Work<R>): Promise<Response> {
  using scope = new DisposableStack();
  const { limits, heldBytes, places, events } = entrance;
  const { request, requestId, caller } = incoming;
  const call = scope.use(beginCall(requestId, request.signal, limits.deadlineMs));
  const account = scope.use(heldBytes.open(caller));
  const answer = async () => {
    const content = await received(entrance, incoming, call, account, work.read);
    const readMs = call.elapsedMs();
    scope.use(await places.acquire({ caller, light: work.isLight(content) }, call.signal));
    events.requestAdmitted({ requestId, readMs, waitMs: call.elapsedMs() - readMs });
    return await work.handle(content, { call, account, scope });
  };
  return await endedBy(answer(), call.signal, graceMs);
}

/** Reads a body that has a chance of being served: what would be refused is not received. It holds no place meanwhile, only its bytes. */
async function received<R>(
  { limits, places, uploads }: Entrance,
  { request, caller }: Incoming,
  call: Call,
  account: HeldBytesAccount,
  read: Work<R>["read"],
): Promise<R> {
  const announced = request.headers.get("content-length");
  const light = announced !== null && Number(announced) <= lightBytesMax;
  if (!places.takes({ caller, light })) throw atCapacity();
  using upload = uploads.open(caller);
  const signal = AbortSignal.any([call.signal, upload.signal]);
  return await orAborted(read(request, { limits, account, signal, received: upload.received }), signal);
}

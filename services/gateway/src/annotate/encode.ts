import { CacheResult, CacheTier, type EncodeResponse } from "@florence/proto/encoder";
import { Fault, orAborted, sleep, toFault } from "@florence/service";
import type { GatewayEvents } from "../events.ts";
import type { Call } from "../http/call.ts";
import type { EncoderClient } from "../peers/clients.ts";
import type { Retries } from "../peers/retry.ts";
import type { ImageHandle } from "./image-id.ts";
import type { ImageReading } from "./request.ts";
import { type WarningJson, warningsOf } from "./warnings.ts";

/** How an embedding was come by: `cache` of the answer. */
export interface CacheReport {
  readonly result: "hit" | "miss" | "coalesced";
  readonly tier: "memory" | "nats" | "none";
  /** Model runs of the encoder that this call caused: 0 or 1, whatever the number of tasks. */
  readonly encodings: number;
}

/** An image that has been encoded, and how that came about. */
export interface EncodeOutcome {
  readonly image: ImageHandle;
  readonly cache: CacheReport;
  /** What was done to the image and could surprise; none where no encoder was asked. */
  readonly warnings: readonly WarningJson[];
  /** Milliseconds; absent where no encoder was asked. */
  readonly timingMs: { readonly preprocess?: number; readonly encode_queue?: number; readonly encode?: number };
}

/** What encoding takes. */
export interface EncodeContext {
  readonly encoder: EncoderClient;
  readonly retries: Retries;
  readonly events: GatewayEvents;
  readonly call: Call;
}

/** Of the time that is left; the answers need the rest. Most images take a hundredth of it: this is for an encoder that hangs. */
export const encodeShare = 0.75;

/**
 * Encodes an image in a share of the call's time. Encoding is idempotent, so it is tried again while no encoder is there. Throws a
 * Fault.
 */
export async function encodeImage(
  bytes: Uint8Array<ArrayBuffer>,
  { autoOrient, background }: ImageReading,
  { encoder, retries, events, call }: EncodeContext,
  share: number,
): Promise<EncodeOutcome> {
  const { requestId } = call;
  const beganAt = call.elapsedMs();
  const tries = retries.encode(call);
  events.encodeAsked({ requestId });
  for (;;) {
    try {
      const request = { image: bytes, ignoreOrientation: !autoOrient, background: new Uint8Array(background ?? []) };
      const response = await orAborted(encoder.encode(request, call.upstreamOptions(share)), call.signal);
      const outcome = toOutcome(response);
      const { result: cache, tier } = outcome.cache;
      events.encodeAnswered({ requestId, ms: call.elapsedMs() - beganAt, cache, tier });
      return outcome;
    } catch (error) {
      const fault = toFault(error);
      const pauseMs = tries.again(fault);
      if (pauseMs === undefined) throw fault;
      events.encodeRetried({ requestId, fault, pauseMs });
      await sleep(pauseMs, call.signal);
    }
  }
}

// 50 megapixels in one row, with room.
const sideMax = 2 ** 26;
// What an image id holds.
const keyCharactersMax = 512;
// The latest moment that a date can name.
const timeMsMax = 8.64e15;

/** Throws `unavailable` for an answer that means nothing: another encoder may do better. */
function toOutcome(response: EncodeResponse): EncodeOutcome {
  const { key, holder, width, height, preprocessMs, queueMs, encodeMs } = response;
  const sides = [width, height].every((side) => side >= 1 && side <= sideMax);
  const names = [key, holder].every((name) => name.length <= keyCharactersMax) && key !== "";
  const expiry = response.expiresAtMs >= 0n && response.expiresAtMs <= timeMsMax;
  if (!(sides && names && expiry && [preprocessMs, queueMs, encodeMs].every(Number.isFinite))) {
    throw new Fault("unavailable", "An encoder's answer cannot be used.", {
      internal: `The encoder sent ${width} x ${height}, a key of ${key.length} characters, times of ${preprocessMs}, ${queueMs} and ${encodeMs} ms, an end at ${response.expiresAtMs}.`,
    });
  }
  const result = cacheResults.get(response.cacheResult) ?? "miss";
  return {
    image: { key, holder, width, height, expiresAtMs: Number(response.expiresAtMs) },
    cache: {
      result,
      tier: cacheTiers.get(response.cacheTier) ?? "none",
      encodings: result === "miss" ? 1 : 0,
    },
    warnings: warningsOf(response.warnings),
    timingMs: { preprocess: preprocessMs, encode_queue: queueMs, encode: encodeMs },
  };
}

const cacheResults = new Map<CacheResult, CacheReport["result"]>([
  [CacheResult.HIT, "hit"],
  [CacheResult.COALESCED, "coalesced"],
]);

const cacheTiers = new Map<CacheTier, CacheReport["tier"]>([
  [CacheTier.MEMORY, "memory"],
  [CacheTier.NATS, "nats"],
]);

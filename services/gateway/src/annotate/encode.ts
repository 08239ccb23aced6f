import type { Decoder } from "@florence/proto/decoder";
import { CacheResult, CacheTier, type EncodeResponse, type Encoder } from "@florence/proto/encoder";
import { type Client, toFault } from "@florence/service";
import type { Call } from "../http/call.ts";
import type { HeldImage } from "./image-id.ts";

/** What the gateway calls on an encoder; grpc-js in Node, anything of the same shape elsewhere. */
export type EncoderClient = Pick<Client<typeof Encoder>, "encode" | "getEncoderModel">;

/** What the gateway calls on a decoder. */
export type DecoderClient = Pick<Client<typeof Decoder>, "generate" | "getDecoderModel">;

/** How an embedding was come by: `cache` of the answer. */
export interface CacheReport {
  readonly result: "hit" | "miss" | "coalesced";
  readonly tier: "memory" | "nats" | "none";
  /** Model runs of the encoder that this call caused: 0 or 1, whatever the number of tasks. */
  readonly encodings: number;
}

/** An image whose embedding is held somewhere, and how that came about. */
export interface EncodedImage {
  readonly held: HeldImage;
  readonly cache: CacheReport;
  /** Milliseconds; absent where no encoder was asked. */
  readonly timingMs: { readonly preprocess?: number; readonly encode_queue?: number; readonly encode?: number };
}

// A neighbour is tried at once; these pauses are for when no encoder is there. They are longer than a client's first reconnections, so
// that one which was just started again is found, and short enough for a system without any to say so.
const retryDelaysMs = [250, 750, 1_500];

/** Of the time that is left; the answers need the rest. Most images take a hundredth of it: this is for an encoder that hangs. */
export const encodeShare = 0.75;

/**
 * Encodes an image in a share of the call's time. Encoding is idempotent, so it is tried again while no encoder is there. Throws a
 * Fault.
 */
export async function encodeImage(
  encoder: EncoderClient,
  bytes: Uint8Array<ArrayBuffer>,
  autoOrient: boolean,
  call: Call,
  share: number,
): Promise<EncodedImage> {
  for (const delayMs of [...retryDelaysMs, undefined]) {
    try {
      return toEncoded(
        await encoder.encode({ image: bytes, ignoreOrientation: !autoOrient }, call.upstreamOptions(share)),
      );
    } catch (error) {
      const fault = toFault(error);
      if (fault.code !== "unavailable" || delayMs === undefined || call.remainingMs() <= delayMs) throw fault;
      call.log.warn({ err: fault }, "no encoder is there, asking again");
      await call.sleep(delayMs);
    }
  }
  throw new Error("the last try throws or returns");
}

function toEncoded(response: EncodeResponse): EncodedImage {
  const { key, holder, width, height } = response;
  const result = cacheResults.get(response.cacheResult) ?? "miss";
  return {
    held: { key, holder, width, height, expiresAtMs: Number(response.expiresAtMs) },
    cache: {
      result,
      tier: cacheTiers.get(response.cacheTier) ?? "none",
      encodings: result === "miss" ? 1 : 0,
    },
    timingMs: { preprocess: response.preprocessMs, encode_queue: response.queueMs, encode: response.encodeMs },
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

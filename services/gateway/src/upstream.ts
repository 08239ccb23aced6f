import type { Decoder } from "@florence/proto/decoder";
import { CacheResult, CacheTier, type EncodeResponse, type Encoder } from "@florence/proto/encoder";
import { type Client, toFault } from "@florence/service";
import type { Call } from "./call.ts";
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

/** A picture whose embedding is held somewhere, and how that came about. */
export interface EncodedPicture {
  readonly held: HeldImage;
  readonly cache: CacheReport;
  /** Milliseconds; absent where no encoder was asked. */
  readonly timingMs: { readonly preprocess?: number; readonly encode_queue?: number; readonly encode?: number };
}

// Longer than the client's first reconnection takes, so that a restarted encoder or its neighbour is found.
const retryDelayMs = 250;

/** Encodes a picture. Encoding is idempotent, so an encoder that is unavailable is asked once more. Throws a Fault. */
export async function encodePicture(
  encoder: EncoderClient,
  bytes: Uint8Array<ArrayBuffer>,
  autoOrient: boolean,
  call: Call,
): Promise<EncodedPicture> {
  const encode = () => encoder.encode({ picture: bytes, ignoreOrientation: !autoOrient }, call.upstreamOptions());
  try {
    return toEncoded(await encode());
  } catch (error) {
    const fault = toFault(error);
    if (fault.code !== "unavailable" || call.remainingMs() <= retryDelayMs) throw fault;
    call.log.warn({ err: fault }, "encoder unavailable, asking once more");
  }
  await call.sleep(retryDelayMs);
  return toEncoded(await encode());
}

function toEncoded(response: EncodeResponse): EncodedPicture {
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

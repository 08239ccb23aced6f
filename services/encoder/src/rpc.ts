import { type EmbeddingCodec, type EmbeddingStore, isEmbeddingKey, type Tier } from "@florence/embeddings";
import { type Colour, describeModel, type Manifest } from "@florence/model";
import { CacheResult, CacheTier, type Encoder } from "@florence/proto/encoder";
import { Fault, type Handlers } from "@florence/service";
import type { EncoderEvents } from "./events.ts";
import type { ImageEncoder } from "./image-encoder.ts";
import type { Outcome } from "./shared-encoding.ts";

export interface RpcParts {
  readonly manifest: Manifest;
  readonly encoder: ImageEncoder;
  readonly store: EmbeddingStore;
  /** For stores that do not say when they forget. */
  readonly storeTtlMs: number;
  /** Largest image file. */
  readonly uploadBytesMax: number;
  readonly codec: EmbeddingCodec;
  /** Says of a key that decoders can fetch its embedding from this encoder; known once the server listens. */
  readonly holderOf: (key: string) => string;
  readonly imagesEncoded: () => number;
  readonly events: EncoderEvents;
}

// A name, an address or a digest; anything longer is not an identity.
const tenantCharactersMax = 256;

const cacheResults: Record<Outcome, CacheResult> = {
  hit: CacheResult.HIT,
  miss: CacheResult.MISS,
  coalesced: CacheResult.COALESCED,
};

const cacheTiers: Record<Tier, CacheTier> = { memory: CacheTier.MEMORY, nats: CacheTier.NATS };

/** The handlers of florence.v1.Encoder. */
export function encoderHandlers(parts: RpcParts): Handlers<typeof Encoder> {
  const { manifest, encoder, store, uploadBytesMax, events } = parts;
  return {
    encode: async ({ image, ignoreOrientation, tenant, background }, end) => {
      const began = performance.now();
      if (image.length === 0) throw new Fault("image_missing", "The call holds no image.");
      if (image.length > uploadBytesMax) {
        throw new Fault("image_too_large", `The image has more than ${uploadBytesMax} bytes.`);
      }
      if (tenant.length > tenantCharactersMax) {
        throw new Fault("body_invalid", `A tenant's name has at most ${tenantCharactersMax} characters.`);
      }
      const options = { ignoreOrientation, tenant, background: toColour(background) };
      const encoded = await encoder.encode(image, options, end);
      const { key, width, height, warnings, outcome, tier, preprocessMs, encodeMs } = encoded;
      // What was neither is waiting: for a place, for a worker, or for the call that this one joined.
      const queueMs = Math.max(0, performance.now() - began - preprocessMs - encodeMs);
      events.imageAnswered({ outcome, tier, preprocessMs, queueMs, encodeMs });
      return {
        key,
        width,
        height,
        cacheResult: cacheResults[outcome],
        cacheTier: outcome === "hit" && tier ? cacheTiers[tier] : CacheTier.NONE,
        holder: parts.holderOf(key),
        expiresAtMs: BigInt(Date.now() + Math.round(expiresInMs(store, key, parts.storeTtlMs))),
        preprocessMs,
        queueMs,
        encodeMs,
        warnings: [...warnings],
      };
    },
    getEmbedding: async ({ key }, { signal }) => {
      if (!isEmbeddingKey(key)) throw new Fault("body_invalid", "The embedding key is malformed.");
      const embedding = await store.get(key, signal);
      if (embedding === undefined) {
        throw new Fault("embedding_evicted", "The image's embedding is gone: send the image again.");
      }
      return { value: parts.codec.encode(key, embedding) };
    },
    getEncoderModel: async () => ({
      model: describeModel(manifest),
      imagesEncoded: BigInt(parts.imagesEncoded()),
    }),
  };
}

/** Three bytes, or none for no colour. */
function toColour(bytes: Uint8Array): Colour | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes.length !== 3) throw new Fault("option_invalid", "A background has three bytes: red, green and blue.");
  return [...bytes] as [number, number, number];
}

/** A store that knows times but not this key has dropped it already. */
function expiresInMs(store: EmbeddingStore, key: string, ttlMs: number): number {
  return store.expiresInMs ? (store.expiresInMs(key) ?? 0) : ttlMs;
}

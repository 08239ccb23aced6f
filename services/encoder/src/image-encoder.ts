import { hash } from "node:crypto";
import {
  type Alias,
  AliasMap,
  aliasName,
  allFinite,
  type EmbeddingStore,
  embeddingKey,
  embeddingKeyPrefix,
  SingleFlight,
  type Tier,
} from "@florence/embeddings";
import type { RemoteAliases } from "@florence/embeddings/nats";
import type { Encoding } from "@florence/model";
import { type Admission, Fault } from "@florence/service";
import type { EncoderEvents } from "./events.ts";
import type { ImagePool } from "./image-pool.ts";
import type { ImageRequest } from "./image-process.ts";
import type { CallEnd, Obtained, Outcome, SharedEncoding } from "./shared-encoding.ts";
import type { VisionPool } from "./vision-pool.ts";

/** What decides an embedding beside the file itself. */
export interface ImageOptions extends ImageRequest {
  readonly tenant: string;
}

/** An image file whose embedding is in the store. */
export interface EncodedFile extends Alias {
  readonly outcome: Outcome;
  /** Where a hit was found. */
  readonly tier?: Tier | undefined;
  /** Milliseconds of decoding and resizing, and of the model's run, that were spent for this call. */
  readonly preprocessMs: number;
  readonly encodeMs: number;
}

export interface ImageEncoderParts {
  readonly encoding: Encoding;
  readonly store: EmbeddingStore;
  readonly shared: SharedEncoding;
  /** What files decode to, known to all processes. */
  readonly remoteAliases?: RemoteAliases | undefined;
  readonly images: ImagePool;
  readonly vision: VisionPool;
  readonly admission: Admission;
  /** Files whose pixels' digest is remembered. */
  readonly aliasesMax: number;
  readonly events: EncoderEvents;
}

/**
 * Encodes each distinct image once. Calls with the same file join before it is decoded; files that decode to the same
 * pixels join before the model runs. Only what is computed takes a place of the admission: hits and joined calls do not.
 */
export class ImageEncoder {
  readonly #parts: ImageEncoderParts;
  readonly #aliases: AliasMap;
  readonly #files = new SingleFlight<EncodedFile>();
  readonly #encodings = new SingleFlight<Obtained>();

  constructor(parts: ImageEncoderParts) {
    this.#parts = parts;
    this.#aliases = new AliasMap({ entriesMax: parts.aliasesMax });
  }

  /** Resolves when the embedding is in the store. `file` must not change before. Throws what the parts throw. */
  async encode(file: Uint8Array, options: ImageOptions, { signal, deadline }: CallEnd): Promise<EncodedFile> {
    // On this thread: 16 MiB take 10 ms, less than moving them to another and back would hold up either.
    const name = aliasName({ fileSha256: hash("sha256", file), ...options });
    const known = await this.#lookUp(this.#aliases.get(name), signal);
    if (known) return known;
    const cameMs = performance.now();
    const compute = (shared: AbortSignal) => this.#compute(name, file, options, { signal: shared, deadline });
    const { value, joined } = await this.#files.run(name, this.#shared(compute), signal);
    if (!joined) return value;
    this.#parts.events.imageJoined({ by: "file", encoding: value, waitedMs: performance.now() - cameMs });
    return { ...value, outcome: value.outcome === "hit" ? "hit" : "coalesced", preprocessMs: 0, encodeMs: 0 };
  }

  async #compute(
    name: string,
    file: Uint8Array,
    options: ImageOptions,
    { signal, deadline }: CallEnd,
  ): Promise<EncodedFile> {
    const { admission, images, remoteAliases, events } = this.#parts;
    const known = await this.#lookUp(await this.#remoteAlias(name, options), signal);
    if (known) return known;
    const cameMs = performance.now();
    using _place = await admission.acquire(signal);
    events.imageAdmitted({ waitedMs: performance.now() - cameMs });
    const { width, height, sha256, warnings, pixels, preprocessMs } = await images.prepare(file, options, signal);
    events.imageDecoded({ width, height, preprocessMs });
    const key = this.#keyOf(sha256, options);
    const alias: Alias = { key, width, height, warnings };
    this.#aliases.set(name, alias);
    remoteAliases?.put(this.#remoteName(name), alias);
    const run = (shared: AbortSignal) => this.#run(key, pixels, { signal: shared, deadline });
    const queuedMs = performance.now();
    const { value, joined } = await this.#encodings.run(key, this.#shared(run), signal);
    if (joined) events.imageJoined({ by: "pixels", encoding: value, waitedMs: performance.now() - queuedMs });
    if (joined && value.outcome === "miss") return { ...alias, outcome: "coalesced", preprocessMs, encodeMs: 0 };
    return { ...alias, ...value, preprocessMs };
  }

  /** As `compute`, and says that it was done by the call that began it. */
  #shared<T extends object>(compute: (signal: AbortSignal) => Promise<T>): (signal: AbortSignal) => Promise<T> {
    return async (signal) => {
      const encoding = await compute(signal);
      this.#parts.events.encodingShared({ encoding });
      return encoding;
    };
  }

  /** The store is asked inside the flight: whoever came after another flight had put the embedding finds it. */
  #run(key: string, pixels: Uint8Array<ArrayBuffer>, end: CallEnd): Promise<Obtained> {
    const { encoding, store, vision, shared } = this.#parts;
    const encode = async (during: AbortSignal) => {
      const { data, encodeMs } = await vision.encode(pixels, during);
      // Stored, it would spoil every answer about this image until it is forgotten.
      if (!allFinite(data)) {
        throw new Fault("internal", "The model could not encode this image.", {
          internal: `The vision graph gave numbers that are not finite for ${key}.`,
        });
      }
      await store.put(key, { dims: encoding.dims, data });
      return encodeMs;
    };
    return shared.obtain(key, encode, end);
  }

  /** What a known file decodes to, if its embedding is there. Finding it keeps it from being forgotten next. */
  async #lookUp(alias: Alias | undefined, signal: AbortSignal): Promise<EncodedFile | undefined> {
    if (alias === undefined) return undefined;
    const found = await this.#parts.store.find(alias.key, signal);
    this.#parts.events.imageLookedUp({ result: found ? "hit" : "miss", tier: found?.tier });
    return found && { ...alias, outcome: "hit", tier: found.tier, preprocessMs: 0, encodeMs: 0 };
  }

  #keyOf(pixelsSha256: string, { tenant }: ImageOptions): string {
    const { digest: weightsDigest, preprocess, dtype } = this.#parts.encoding;
    return embeddingKey({ weightsDigest, preprocess, dtype, pixelsSha256, tenant });
  }

  /** Encoders of another checkpoint or precision may share the bucket: their keys are of no use here. */
  #remoteName(name: string): string {
    const { digest, preprocess } = this.#parts.encoding;
    return `${embeddingKeyPrefix(digest)}${preprocess}.${name}`;
  }

  /** What another encoder knows of the file; never a key that this encoder would not have made for this tenant. */
  async #remoteAlias(name: string, options: ImageOptions): Promise<Alias | undefined> {
    const alias = await this.#parts.remoteAliases?.get(this.#remoteName(name));
    const pixelsSha256 = alias?.key.split(".")[3];
    if (!alias || !pixelsSha256 || this.#keyOf(pixelsSha256, options) !== alias.key) return undefined;
    this.#aliases.set(name, alias);
    return alias;
  }
}

import type { Alias, AliasWarning } from "../alias.ts";
import { type EmbeddingEvents, unheard } from "../events.ts";
import { isEmbeddingKey } from "../key.ts";
import { Seal } from "../seal.ts";
import { type BucketOptions, NatsBucket } from "./bucket.ts";
import type { NatsLink } from "./connection.ts";
import { queueTo } from "./queue.ts";
import type { WriteBehind } from "./write-behind.ts";

export interface RemoteAliasesOptions extends BucketOptions {
  /** Default: one without a secret. */
  seal?: Seal;
  bucket?: string;
  /** How long an alias is kept; as long as the embeddings, since it leads to one. */
  ttlMs?: number;
  bytesMax?: number;
  replicas?: number;
  /** How long a read may take; past it the answer is a miss. */
  readMsMax?: number;
}

const MiB = 1024 * 1024;
const hourMs = 3_600_000;

// Decoding an image takes about as long: past this, it may as well begin.
const readMsMaxDefault = 50;

// A seal, a key, two numbers and their names take 400; every warning there is, 1,100.
const aliasBytesMax = 2048;

// Aliases are small: these are minutes of a busy encoder.
const queueEntriesMax = 2048;
const writesMax = 4;
const flushMsMax = 500;

/** What image files decode to, for all processes: a file that one has seen the others need not decode. */
export class RemoteAliases implements AsyncDisposable {
  readonly #bucket: NatsBucket;
  readonly #seal: Seal;
  readonly #readMsMax: number;
  readonly #queue: WriteBehind;
  readonly #events: EmbeddingEvents;

  /** Opens the bucket. Without a server it comes up in the background; rejects with a NatsConfigError. */
  static async open(link: NatsLink, options: RemoteAliasesOptions = {}): Promise<RemoteAliases> {
    const settings = {
      name: options.bucket ?? "florence-aliases",
      storage: "file",
      ttlMs: options.ttlMs ?? 24 * hourMs,
      bytesMax: options.bytesMax ?? 64 * MiB,
      valueBytesMax: aliasBytesMax,
      replicas: options.replicas ?? 1,
    } as const;
    const bucket = await NatsBucket.open(link, settings, options);
    return new RemoteAliases(bucket, options);
  }

  private constructor(bucket: NatsBucket, { seal, readMsMax, events = unheard }: RemoteAliasesOptions) {
    this.#bucket = bucket;
    this.#seal = seal ?? new Seal();
    this.#events = events;
    this.#readMsMax = readMsMax ?? readMsMaxDefault;
    this.#queue = queueTo(bucket, events, {
      bytesMax: queueEntriesMax * aliasBytesMax,
      entriesMax: queueEntriesMax,
      concurrency: writesMax,
    });
  }

  /** The alias under a name that aliasName made, or undefined; never throws for what NATS does. */
  async get(name: string): Promise<Alias | undefined> {
    try {
      const entry = await this.#bucket.get(name, this.#readMsMax);
      const alias = entry === undefined || entry.deleted ? undefined : this.#open(name, entry.value);
      if (entry && !entry.deleted && alias === undefined) this.#bucket.discard(entry);
      if (alias === undefined) this.#events.aliasMissed({});
      else this.#events.aliasFound({});
      return alias;
    } catch (error) {
      return this.#bucket.sayUnread(error);
    }
  }

  /** Keeps an alias, later; resolves nothing because there is nothing to wait for. */
  put(name: string, { key, width, height, warnings }: Alias): void {
    const text = JSON.stringify({ key, width, height, warnings });
    this.#queue.put(name, Buffer.from(this.#seal.sealText("alias", name, text)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close(flushMsMax);
    this.#bucket[Symbol.dispose]();
  }

  /** What was kept under this name: a flipped digit of a size, or another file's alias, would move every box of an answer. */
  #open(name: string, value: Uint8Array): Alias | undefined {
    const text = this.#seal.openText("alias", name, value);
    return text === undefined ? undefined : parseAlias(text);
  }
}

function isWarning(value: unknown): value is AliasWarning {
  const { code, message } = (value ?? {}) as Partial<AliasWarning>;
  return typeof code === "string" && typeof message === "string";
}

function parseAlias(text: string): Alias | undefined {
  try {
    const { key, width, height, warnings } = JSON.parse(text) as Partial<Alias>;
    const isSize = (side: unknown): side is number => Number.isInteger(side) && Number(side) > 0;
    if (typeof key !== "string" || !isEmbeddingKey(key) || !isSize(width) || !isSize(height)) return undefined;
    // An earlier release kept none; the file is decoded once more, to know them.
    if (!Array.isArray(warnings) || !warnings.every(isWarning)) return undefined;
    return { key, width, height, warnings };
  } catch {
    return undefined;
  }
}

import { type Tracing, untraced } from "@florence/service";
import { errors, headers, type Msg, type Payload } from "@nats-io/transport-node";
import { type EmbeddingEvents, unheard } from "../events.ts";
import { Breaker } from "./breaker.ts";
import { NatsConfigError, type NatsLink } from "./connection.ts";
import { type BucketSettings, ensureStream, findStream, streamOf } from "./stream.ts";

/** What a key holds. */
export interface BucketEntry {
  readonly value: Uint8Array;
  readonly revision: number;
  /** When the server stored it, Unix milliseconds by the server's clock. */
  readonly storedAtMs: number;
  /** A note that the key was deleted, and not a value. */
  readonly deleted: boolean;
}

/** Why a call had no answer: the server is known to be out of reach, or it took too long. */
export class NatsUnavailable extends Error {
  override readonly name = "NatsUnavailable";
  readonly kind: "down" | "timeout";

  constructor(kind: "down" | "timeout", cause?: unknown) {
    super(kind === "down" ? "NATS is out of reach." : "NATS did not answer in time.", { cause });
    this.kind = kind;
  }
}

/** The server's refusal of a write. */
export class NatsRefusal extends Error {
  override readonly name = "NatsRefusal";
}

export interface PutOptions {
  timeoutMs: number;
  /** Write only if this is the key's revision; 0 for a key that holds nothing. */
  expectedRevision?: number;
  /** Write a note of deletion instead of the value. */
  deletion?: boolean;
}

export interface BucketOptions {
  /** Whether this process only reads: then it neither makes the bucket nor deletes what does not verify. Default false. */
  readOnly?: boolean | undefined;
  /** Hears what happens; of a problem that somebody must solve, once. */
  events?: EmbeddingEvents | undefined;
  /** Says what messages carry, so that who reads one knows what wrote it. */
  tracing?: Tracing | undefined;
}

/** Off everybody's way, so patient: a value has megabytes, and a busy disk stalls for a second. */
export const writeMsMax = 2_000;

// One slow answer is chance; five in a row are a server in trouble, found within half a second of waiting.
const failuresMax = 5;

// A restarted server is back within seconds; probing costs one small request.
const probeAfterMs = 2_000;

const keyPattern = /^[A-Za-z0-9_=-][A-Za-z0-9_=.-]*$/;
const wrongRevision = new Set([10071, 10164]); // The second since 2.11.

/**
 * A JetStream KV bucket on a connection that comes and goes. Each call has a time limit, and a circuit breaker makes
 * calls fail at once while the server is out of reach. Whenever it comes back the bucket is ensured again, since a
 * restarted server may have lost it.
 */
export class NatsBucket implements Disposable {
  readonly settings: BucketSettings;
  readonly readOnly: boolean;
  readonly #link: NatsLink;
  readonly #breaker: Breaker;
  readonly #events: EmbeddingEvents;
  readonly #tracing: Tracing;
  readonly #stopListening: () => void;
  readonly #availableListeners = new Set<() => void>();
  #problem: NatsConfigError | undefined;
  // By performance.now().
  #repliedAtMs = 0;
  #failedAtMs = 0;

  /** Opens a bucket. Without a server it comes up in the background; rejects with a NatsConfigError. */
  static async open(link: NatsLink, settings: BucketSettings, options: BucketOptions = {}): Promise<NatsBucket> {
    const { name, bytesMax, valueBytesMax } = settings;
    if (!/^[A-Za-z0-9_-]+$/.test(name)) throw new NatsConfigError(`${JSON.stringify(name)} cannot name a bucket.`);
    if (bytesMax < 2 * valueBytesMax) {
      throw new NatsConfigError(`A bucket of ${bytesMax} bytes is too small for values of ${valueBytesMax}.`);
    }
    const bucket = new NatsBucket(link, settings, options);
    await bucket.#breaker.probeNow();
    const problem = bucket.#problem;
    if (problem === undefined) return bucket;
    bucket[Symbol.dispose]();
    throw problem;
  }

  private constructor(link: NatsLink, settings: BucketSettings, options: BucketOptions) {
    this.settings = settings;
    this.readOnly = options.readOnly ?? false;
    this.#link = link;
    this.#events = options.events ?? unheard;
    this.#tracing = options.tracing ?? untraced;
    this.#breaker = new Breaker({
      failuresMax,
      probeAfterMs,
      probe: () => this.#ensure(),
      onOpen: () => this.#events.breakerOpened({ bucket: settings.name }),
      onClose: () => {
        for (const listener of this.#availableListeners) listener();
      },
    });
    this.#stopListening = link.onChange((connected) => {
      this.#breaker.open();
      if (connected) void this.#breaker.probeNow();
    });
  }

  /** Whether calls are worth making. */
  get available(): boolean {
    return this.#breaker.closed && this.#link.connection !== undefined;
  }

  /** Has `listener` called each time the bucket becomes available. */
  onAvailable(listener: () => void): void {
    this.#availableListeners.add(listener);
  }

  /** What the key holds. Throws NatsUnavailable. */
  async get(key: string, timeoutMs: number): Promise<BucketEntry | undefined> {
    const subject = this.#subject(key);
    const beganMs = performance.now();
    const reply = await this.#request(`$JS.API.DIRECT.GET.${this.#stream}.${subject}`, undefined, { timeoutMs });
    this.#events.bucketRead({
      bucket: this.settings.name,
      bytes: reply.data.length,
      ms: performance.now() - beganMs,
      header: (name) => reply.headers?.get(name) || undefined,
    });
    const status = reply.headers?.code ?? 0;
    if (status === 404) return undefined;
    const revision = Number(reply.headers?.get("Nats-Sequence"));
    if (status !== 0 || !revision || reply.headers?.get("Nats-Subject") !== subject) {
      throw new NatsUnavailable("down", new Error(`Unexpected reply ${status} ${reply.headers?.description ?? ""}`));
    }
    const storedAtMs = Date.parse(reply.headers.get("Nats-Time-Stamp"));
    const operation = reply.headers.get("KV-Operation");
    // Servers also mark what expired, by a reason of their own.
    const deleted = (operation !== "" && operation !== "PUT") || reply.headers.has("Nats-Marker-Reason");
    return { value: reply.data, revision, storedAtMs, deleted };
  }

  /**
   * Writes and resolves to the new revision, or to undefined when the key's revision is not the expected one. Throws
   * NatsUnavailable, after which the value may have been written or not, or NatsRefusal.
   */
  async put(key: string, value: Payload, options: PutOptions): Promise<number | undefined> {
    const { timeoutMs, expectedRevision, deletion } = options;
    const fields = headers();
    fields.set("Nats-Expected-Stream", this.#stream);
    if (expectedRevision !== undefined) fields.set("Nats-Expected-Last-Subject-Sequence", String(expectedRevision));
    if (deletion) fields.set("KV-Operation", "DEL");
    for (const [name, text] of Object.entries(this.#tracing.metadata())) fields.set(name, text);
    const beganMs = performance.now();
    const reply = await this.#request(this.#subject(key), deletion ? undefined : value, { timeoutMs, headers: fields });
    const { seq, error } = reply.json<{ seq?: number; error?: { err_code: number; description: string } }>();
    const bytes = deletion ? 0 : value.length;
    this.#events.bucketWritten({ bucket: this.settings.name, bytes, ms: performance.now() - beganMs });
    if (error === undefined && seq !== undefined) return seq;
    if (wrongRevision.has(error?.err_code ?? 0)) return undefined;
    throw new NatsRefusal(error?.description ?? "no acknowledgement");
  }

  /**
   * Gets rid of a value that does not verify: says so, and deletes that revision, so that a newer value stays. Not waited for: if it
   * fails, whoever writes the key next replaces the value.
   */
  discard({ revision }: BucketEntry): void {
    this.#events.valueCorrupt({ bucket: this.settings.name });
    if (this.readOnly) return;
    const request = JSON.stringify({ seq: revision, no_erase: true });
    const options = { timeoutMs: writeMsMax };
    void this.#request(`$JS.API.STREAM.MSG.DELETE.${this.#stream}`, request, options).catch(() => {});
  }

  /** Whether the key holds anything, a note of deletion included, without the cost of the value. */
  async holds(key: string, timeoutMs: number): Promise<boolean> {
    const subject = this.#subject(key);
    const request = JSON.stringify({ subjects_filter: subject });
    const reply = await this.#request(`$JS.API.STREAM.INFO.${this.#stream}`, request, { timeoutMs });
    const { state } = reply.json<{ state?: { subjects?: Record<string, number> } }>();
    return (state?.subjects?.[subject] ?? 0) > 0;
  }

  /**
   * Calls `onWrite` when the key is written, until the returned function is called. Best effort: what is written while
   * the connection is gone is not seen.
   */
  watch(key: string, onWrite: () => void): () => void {
    const subject = this.#subject(key);
    try {
      const subscription = this.#link.connection?.subscribe(subject, { callback: () => onWrite() });
      return () => subscription?.unsubscribe();
    } catch {
      return () => {}; // The connection went this moment.
    }
  }

  /** Says why a read had no answer, which makes it a miss. Throws any error but NatsUnavailable. */
  sayUnread(error: unknown): undefined {
    if (!(error instanceof NatsUnavailable)) throw error;
    const about = { bucket: this.settings.name };
    if (error.kind === "timeout") this.#events.readTimedOut(about);
    else this.#events.readUnavailable(about);
  }

  [Symbol.dispose](): void {
    this.#stopListening();
    this.#availableListeners.clear();
    this.#breaker[Symbol.dispose]();
  }

  get #stream(): string {
    return streamOf(this.settings.name);
  }

  #subject(key: string): string {
    // Wildcards above all must not come in from the network.
    if (!keyPattern.test(key) || key.endsWith(".")) throw new RangeError(`${JSON.stringify(key)} cannot be a key.`);
    return `$KV.${this.settings.name}.${key}`;
  }

  async #request(
    subject: string,
    payload: Payload | undefined,
    { timeoutMs, headers }: { timeoutMs: number; headers?: Msg["headers"] },
  ): Promise<Msg> {
    const { connection } = this.#link;
    if (!this.#breaker.closed || connection === undefined) throw new NatsUnavailable("down");
    // The client takes whole milliseconds, and 0 for its default.
    const timeout = Math.max(1, Math.round(timeoutMs));
    const sentAtMs = performance.now();
    try {
      const reply = await connection.request(subject, payload, { timeout, ...(headers && { headers }) });
      this.#repliedAtMs = performance.now();
      this.#breaker.success();
      return reply;
    } catch (error) {
      if (error instanceof errors.TimeoutError) {
        this.#countFailure(sentAtMs);
        throw new NatsUnavailable("timeout", error);
      }
      if (error instanceof errors.RequestError && error.isNoResponders()) {
        // The stream is gone, or JetStream is: ensuring it finds out which.
        this.#breaker.open();
        void this.#breaker.probeNow();
      }
      throw new NatsUnavailable("down", error);
    }
  }

  // A server that has answered others meanwhile is busy, not in trouble; and calls that fail at the same time are one
  // sign of trouble, which may be a pause of this very process.
  #countFailure(sentAtMs: number): void {
    if (sentAtMs <= Math.max(this.#repliedAtMs, this.#failedAtMs)) return;
    this.#failedAtMs = performance.now();
    this.#breaker.failure();
  }

  async #ensure(): Promise<void> {
    const { connection } = this.#link;
    if (connection === undefined) throw new NatsUnavailable("down");
    try {
      if (this.readOnly) await findStream(connection, this.settings.name);
      else await ensureStream(connection, this.settings);
      this.#problem = undefined;
    } catch (error) {
      if (error instanceof NatsConfigError) {
        if (error.message !== this.#problem?.message) this.#events.natsMisconfigured({ error });
        this.#problem = error;
      }
      throw error;
    }
  }
}

import { constants, readFileSync } from "node:fs";
import { access } from "node:fs/promises";
import { sleep, within } from "@florence/service";
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
} from "@nats-io/transport-node";
import { type EmbeddingEvents, unheard } from "../events.ts";

/** How to reach NATS. */
export interface NatsOptions {
  /** `nats://[user:password@]host[:port]` or `tls://…`, one or several of a cluster. */
  servers: string | readonly string[];
  /** This client's name in the server's monitoring. */
  name?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  token?: string | undefined;
  /** A file with a user's JWT and seed, read anew at every connect. */
  credsFile?: string | undefined;
  /** PEM files; the system's authorities unless `caFile` is given. A `tls://` address alone turns TLS on. */
  tls?: { caFile?: string; certFile?: string; keyFile?: string } | undefined;
  /** Hears when the connection comes and goes. */
  events?: EmbeddingEvents | undefined;
}

/** A setting that cannot work, in words for whoever set it. */
export class NatsConfigError extends Error {
  override readonly name = "NatsConfigError";
}

// A server in reach answers in milliseconds; past this the process starts and connects in the background.
const connectMsMax = 2_000;

// Quick at first, since a restarted server is back within a second, then patient.
const retryMsMin = 250;
const retryMsMax = 5_000;

// A server that stopped answering is noticed after two missed pings. The breakers do not wait for that.
const pingMs = 2_000;

// Closing is a formality: what had to be written was written before.
const closeMsMax = 500;

/**
 * Connects to NATS. When no server answers, it resolves all the same and goes on trying in the background; a
 * connection that is lost is taken up again for ever. Rejects with a NatsConfigError when the settings cannot work:
 * an address or a file is wrong, or the server refuses the credentials.
 */
export async function connectNats(options: NatsOptions): Promise<NatsLink> {
  const settings = await connectionOptions(options);
  const link = new NatsLink(settings, options.events ?? unheard);
  const problem = await link.firstAttempt;
  if (problem instanceof NatsConfigError) {
    await link[Symbol.asyncDispose]();
    throw problem;
  }
  return link;
}

/** A connection that comes and goes. */
export class NatsLink implements AsyncDisposable {
  /** Settles after the first try to connect, with what went wrong. */
  readonly firstAttempt: Promise<Error | undefined>;
  readonly #settings: ConnectionOptions;
  readonly #events: EmbeddingEvents;
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #closing = new AbortController();
  #client: NatsConnection | undefined;
  #connected = false;

  /** Made by connectNats. */
  constructor(settings: ConnectionOptions, events: EmbeddingEvents) {
    this.#settings = settings;
    this.#events = events;
    const first = Promise.withResolvers<Error | undefined>();
    this.firstAttempt = first.promise;
    void this.#run(first.resolve);
  }

  /** The connection while it stands. */
  get connection(): NatsConnection | undefined {
    return this.#connected ? this.#client : undefined;
  }

  /** Has `listener` called when the connection comes or goes, until the returned function is called. */
  onChange(listener: (connected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    const closed = this.#client?.close();
    this.#set(false, "closed");
    if (closed) await within(closed, closeMsMax).catch(() => {});
  }

  // The client reconnects by itself once it was connected; this loop is for the time before, and if it gives up.
  async #run(onFirst: (problem: Error | undefined) => void): Promise<void> {
    const { signal } = this.#closing;
    for (let waitMs = retryMsMin; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMsMax)) {
      try {
        const client = await connect(this.#settings);
        if (signal.aborted) return void client.close();
        waitMs = retryMsMin;
        this.#client = client;
        this.#set(true);
        onFirst(undefined);
        await this.#follow(client);
      } catch (error) {
        const problem = describe(error);
        this.#set(false, problem.message);
        onFirst(problem);
      }
      await sleep(waitMs, signal).catch(() => {});
    }
  }

  async #follow(client: NatsConnection): Promise<void> {
    for await (const status of client.status()) {
      if (status.type === "disconnect") this.#set(false, "disconnected");
      else if (status.type === "reconnect") this.#set(true);
    }
    this.#set(false, "the client gave up");
  }

  #set(connected: boolean, reason = ""): void {
    if (connected === this.#connected && connected) return;
    const changed = connected !== this.#connected;
    this.#connected = connected;
    if (this.#closing.signal.aborted && !changed) return;
    if (connected) {
      const { version = "" } = this.#client?.info ?? {};
      this.#events.natsConnected({ server: this.#client?.getServer() ?? "", version });
    } else {
      this.#events.natsDisconnected({ reason });
    }
    if (changed) for (const listener of this.#listeners) listener(connected);
  }
}

async function connectionOptions(options: NatsOptions): Promise<ConnectionOptions> {
  const urls = [options.servers].flat().map(parseServer);
  const [first] = urls;
  if (first === undefined) throw new NatsConfigError("No NATS server is named.");
  const user = options.user ?? (first.password ? decodeURIComponent(first.username) : undefined);
  const pass = options.password ?? (first.password ? decodeURIComponent(first.password) : undefined);
  const token = options.token ?? (first.password ? undefined : decodeURIComponent(first.username) || undefined);
  const { credsFile, tls } = options;
  for (const file of [credsFile, tls?.caFile, tls?.certFile, tls?.keyFile]) {
    if (file === undefined) continue;
    await access(file, constants.R_OK).catch((cause) => {
      throw new NatsConfigError(`The file ${file} of the NATS settings cannot be read.`, { cause });
    });
  }
  const secure = tls ?? (urls.some((url) => url.protocol === "tls:") ? {} : undefined);
  return {
    servers: urls.map((url) => `${url.hostname}:${url.port || 4222}`),
    timeout: connectMsMax,
    maxReconnectAttempts: -1,
    reconnectTimeWait: retryMsMin,
    // Credentials may be rotated while we run; refused ones are tried again, which the log shows.
    ignoreAuthErrorAbort: true,
    pingInterval: pingMs,
    noAsyncTraces: true,
    // Answers come to an inbox of the name's own, so that no other user of the server needs to be let read them.
    ...(options.name !== undefined && { name: options.name, inboxPrefix: `_INBOX_${options.name}` }),
    ...(user !== undefined && { user, pass: pass ?? "" }),
    ...(token !== undefined && { token }),
    ...(credsFile !== undefined && {
      authenticator: (nonce?: string) => credsAuthenticator(readFileSync(credsFile))(nonce),
    }),
    ...(secure && { tls: secure }),
  };
}

function parseServer(server: string): URL {
  const url = URL.parse(server.includes("://") ? server : `nats://${server}`);
  if (url === null || !["nats:", "tls:"].includes(url.protocol) || url.hostname === "") {
    // The address may carry a password, so it is not repeated.
    throw new NatsConfigError("A NATS server's address is nats://host:port or tls://host:port.");
  }
  return url;
}

function describe(error: unknown): Error {
  if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError) {
    return new NatsConfigError("The NATS server refuses the credentials.", { cause: error });
  }
  const problem = error instanceof Error ? error : new Error(String(error));
  const { cause } = problem;
  return cause instanceof Error && cause.message !== problem.message
    ? new Error(`${problem.message}: ${cause.message}`, { cause })
    : problem;
}

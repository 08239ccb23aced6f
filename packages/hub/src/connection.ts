import { Agent as HttpAgent, type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { HubSettings } from "./config.ts";
import { Transient } from "./error.ts";

// Enough that a file's headers do not wait for another's, few enough that no hub counts it as an attack.
const socketsMax = 4;
// huggingface.co leads to its storage in one or two steps; a mirror may add some.
const redirectsMax = 8;
// A list of a repository's files; those with thousands of files take a few.
const jsonBytesMax = 16 * 1024 * 1024;

/** A hub's answer, whose body is read piece by piece. */
export interface HubAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body; reading it fails with a Transient when it stalls or breaks off. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Lets go of a body that is not read. */
  discard(): void;
}

/** Speaks HTTP with a hub and the storage that it sends us to: through proxies, with the token for the hub alone, and never for ever. */
export class HubConnection implements Disposable {
  readonly #settings: HubSettings;
  readonly #agents: { readonly "http:": HttpAgent; readonly "https:": HttpsAgent };

  constructor(settings: HubSettings) {
    this.#settings = settings;
    const options = { keepAlive: true, maxSockets: socketsMax, proxyEnv: settings.proxyEnv };
    this.#agents = { "http:": new HttpAgent(options), "https:": new HttpsAgent(options) };
  }

  /** What a path of the hub says about itself, from the last answer that the hub itself gives: it may point on to a storage. */
  async head(path: string): Promise<{ status: number; headers: IncomingHttpHeaders }> {
    let url = new URL(this.#settings.endpoint + path);
    let seen: IncomingHttpHeaders = {};
    for (let redirects = 0; ; redirects++) {
      const { status, headers, body } = await this.#send("HEAD", url, {});
      for await (const _ of body); // There is none; its end frees the connection.
      // What an earlier step said of the file holds: a later one may be about a copy of it.
      seen = { ...headers, ...pick(seen, ["x-linked-etag", "x-linked-size", "x-repo-commit"]) };
      const next = nextUrl(url, status, headers, redirects);
      if (!next || next.origin !== url.origin) return { status, headers: seen };
      url = next;
    }
  }

  /** Opens a path of the hub for reading, from byte `from` on if the hub can. Redirects are followed. */
  async open(path: string, from = 0): Promise<HubAnswer> {
    let url = new URL(this.#settings.endpoint + path);
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#send("GET", url, from > 0 ? { range: `bytes=${from}-` } : {});
      const next = nextUrl(url, answer.status, answer.headers, redirects);
      if (!next) return answer;
      answer.discard();
      url = next;
    }
  }

  /** A JSON answer; `value` is undefined where the body is none. */
  async json(path: string): Promise<{ status: number; headers: IncomingHttpHeaders; value: unknown }> {
    const { status, headers, body } = await this.open(path);
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of body) {
      bytes += piece.length;
      if (bytes > jsonBytesMax) break;
      pieces.push(piece);
    }
    try {
      return { status, headers, value: JSON.parse(Buffer.concat(pieces).toString("utf8")) };
    } catch {
      return { status, headers, value: undefined };
    }
  }

  [Symbol.dispose](): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  #send(method: "GET" | "HEAD", url: URL, headers: Record<string, string>): Promise<HubAnswer> {
    const { endpoint, token, stallMs } = this.#settings;
    const https = url.protocol === "https:";
    const controller = new AbortController();
    const stalled = () =>
      controller.abort(new Transient(`${url.host} said nothing for ${Math.round(stallMs / 1000)} s`));
    const timer = setTimeout(stalled, stallMs);
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        clearTimeout(timer);
        reject(controller.signal.aborted ? controller.signal.reason : broken(url, error));
      };
      const request = (https ? requestHttps : requestHttp)(url, {
        method,
        agent: this.#agents[https ? "https:" : "http:"],
        signal: controller.signal,
        timeout: stallMs, // For a proxy's tunnel, which no signal reaches.
        headers: {
          "user-agent": "florence",
          "accept-encoding": "identity", // The bytes as they are: they are counted and hashed.
          ...(token && url.origin === new URL(endpoint).origin && { authorization: `Bearer ${token.reveal()}` }),
          ...headers,
        },
      });
      request.once("error", fail);
      request.once("response", (response) => {
        const discard = () => {
          clearTimeout(timer);
          response.destroy();
        };
        timer.refresh();
        const body = read(response, url, timer, controller.signal);
        resolve({ status: response.statusCode as number, headers: response.headers, body, discard });
      });
      request.end();
    });
  }
}

/** The body's pieces; the timer starts anew with each. */
async function* read(
  response: IncomingMessage,
  url: URL,
  timer: NodeJS.Timeout,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response) {
      yield piece;
      timer.refresh();
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : broken(url, error);
  } finally {
    clearTimeout(timer);
    response.destroy();
  }
}

function nextUrl(from: URL, status: number, headers: IncomingHttpHeaders, redirects: number): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status) || headers.location === undefined) return undefined;
  if (redirects === redirectsMax) throw new Transient(`${from.host} redirects without end`);
  const next = URL.parse(headers.location, from.href);
  if (!next || !/^https?:$/.test(next.protocol)) throw new Transient(`${from.host} redirects to no address`);
  return next;
}

function broken(url: URL, cause: unknown): Transient {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new Transient(`${url.host}: ${code ?? message}`, 0, { cause });
}

function pick(headers: IncomingHttpHeaders, names: readonly string[]): IncomingHttpHeaders {
  return Object.fromEntries(names.filter((name) => headers[name] !== undefined).map((name) => [name, headers[name]]));
}

import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** What goes wrong with a file, for a test. Offsets are of the whole file. */
export interface Trouble {
  /** The connection is cut after so many bytes of an answer, as often as there are numbers. */
  cuts?: number[];
  /** The sending stops at these offsets, one for each request, until `resume` or until the other side goes away. */
  pauses?: number[];
  /** Answers of this status instead, so often. */
  statuses?: number[];
  /** Range is ignored, as by a server that knows none. */
  wholeOnly?: boolean;
  /** One byte is changed in so many answers. */
  spoiled?: number;
}

export interface Repository {
  readonly folder: string;
  readonly commit: string;
  /** Branches and tags besides main. */
  readonly revisions?: readonly string[];
  /** A token that may see it; without one anybody may. */
  readonly token?: string;
  /** Its list is for anybody, its files are not. */
  readonly gated?: boolean;
}

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** A hub on loopback as huggingface.co is, as far as checkpoints need it, and a storage of another origin that it redirects large files to. */
export class HubServer implements AsyncDisposable {
  readonly repositories = new Map<string, Repository>();
  /** By file name. */
  readonly trouble = new Map<string, Trouble>();
  /** What the hub was asked, in order. */
  readonly asked: Asked[] = [];
  /** What the storage was asked. */
  readonly stored: Asked[] = [];
  /** Bytes of large files that were sent. */
  sentBytes = 0;
  /** Sends what a pause holds back. */
  resume: () => void = () => {};
  /** Every token that the hub knows. */
  readonly tokens = new Set<string>();
  #hub = createServer((request, response) => this.#answer(request, response));
  #storage = createServer((request, response) => this.#store(request, response));

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    for (const part of [server.#hub, server.#storage]) await once(part.listen(0, "127.0.0.1"), "listening");
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of [this.#hub, this.#storage]) {
      part.closeAllConnections();
      await new Promise((resolve) => part.close(resolve));
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    // A proxy is asked with the whole URL.
    const path = decodeURIComponent((request.url as string).replace(/^http:\/\/[^/]+/, ""));
    this.asked.push(note(request, path));
    const refuse = (status: number, code?: string) =>
      response.writeHead(status, code ? { "x-error-code": code } : {}).end();
    const authorization = request.headers.authorization?.replace("Bearer ", "");
    if (authorization !== undefined && !this.tokens.has(authorization)) return void refuse(401);

    const list = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(path);
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const [, name = "", revision = "", file = ""] = list ?? resolve ?? [];
    const repository = this.repositories.get(name);
    const allowed = !repository?.token || repository.token === authorization;
    if (!repository || (!allowed && !repository.gated))
      return void refuse(authorization === undefined ? 401 : 404, authorization && "RepoNotFound");
    if (!["main", repository.commit, ...(repository.revisions ?? [])].includes(revision))
      return void refuse(404, "RevisionNotFound");
    if (list) {
      const siblings = readdirSync(repository.folder).map((rfilename) => ({ rfilename }));
      return void response
        .writeHead(200, { "content-type": "application/json" })
        .end(JSON.stringify({ id: name, sha: repository.commit, siblings }));
    }
    if (!allowed) return void refuse(authorization === undefined ? 401 : 403, "GatedRepo");

    const bytes = readFileSync(join(repository.folder, file));
    response.setHeader("x-repo-commit", repository.commit);
    if (isLarge(file)) {
      const { port } = this.#storage.address() as AddressInfo;
      response.writeHead(302, {
        location: `http://127.0.0.1:${port}/${name}/${file}`,
        "x-linked-etag": `"${sha256(bytes)}"`,
        "x-linked-size": bytes.length,
      });
      return void response.end();
    }
    response.writeHead(200, { etag: `"${gitSha1(bytes)}"`, "content-length": bytes.length });
    response.end(request.method === "HEAD" ? undefined : bytes);
  }

  async #store(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.stored.push(note(request, request.url as string));
    const [, owner, name, file = ""] = (request.url as string).split("/");
    const trouble = this.trouble.get(file) ?? {};
    const status = trouble.statuses?.shift();
    if (status !== undefined) return void response.writeHead(status).end();
    const bytes = Buffer.from(
      readFileSync(join((this.repositories.get(`${owner}/${name}`) as Repository).folder, file)),
    );
    if (trouble.spoiled) {
      trouble.spoiled--;
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    }
    const range = trouble.wholeOnly ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const start = Number(range?.[1] ?? 0);
    response.setHeader("content-length", bytes.length - start);
    if (range) response.setHeader("content-range", `bytes ${start}-${bytes.length - 1}/${bytes.length}`);
    response.writeHead(range ? 206 : 200);
    const cut = trouble.cuts?.shift();
    const pause = trouble.pauses?.shift();
    const end = cut === undefined ? (pause ?? bytes.length) : start + cut;
    response.write(bytes.subarray(start, end), () => {
      this.sentBytes += end - start;
      if (cut !== undefined) response.destroy();
      else if (pause === undefined) response.end();
      else this.resume = () => response.end(bytes.subarray(end));
    });
  }
}

const isLarge = (file: string): boolean => /\.(safetensors|bin)$/.test(file);

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

export const gitSha1 = (bytes: Uint8Array): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

function note({ method, headers }: IncomingMessage, path: string): Asked {
  return { method: method as string, path, range: headers.range, authorization: headers.authorization };
}

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Logger } from "@florence/service";

/** All addresses of a host name. */
export type Resolve = (host: string) => Promise<string[]>;

// A name server that has not answered by then is taken for one that does not.
const timeoutMs = 5_000;

interface Entry {
  readonly host: string;
  readonly port: string;
  /** host:port of each, as last resolved. */
  addresses: readonly string[];
  failing: boolean;
}

/** A list of host:port, in which a host name stands for all of its addresses, as they were when last resolved. */
export class PeerNames {
  readonly #entries: readonly Entry[];
  readonly #named: readonly Entry[];
  readonly #resolve: Resolve;
  readonly #log: Logger;

  /** Throws an Error where the list is not made of host:port. */
  constructor(list: string, log: Logger, resolve: Resolve = lookupAll) {
    this.#entries = parseList(list);
    this.#named = this.#entries.filter(({ host }) => isIP(host) === 0);
    this.#resolve = resolve;
    this.#log = log;
  }

  /** Whether anything can change: some entry is a name. */
  get changing(): boolean {
    return this.#named.length > 0;
  }

  /** Each once, in the same order in every process that knows the same ones. */
  get addresses(): readonly string[] {
    return [...new Set(this.#entries.flatMap(({ addresses }) => addresses))].sort();
  }

  /** Resolves all names. One that cannot be resolved keeps its last known addresses. It does not throw. */
  async resolve(): Promise<void> {
    await Promise.all(this.#named.map((entry) => this.#resolveEntry(entry)));
  }

  async #resolveEntry(entry: Entry): Promise<void> {
    const { host, port } = entry;
    try {
      const hosts = await withTimeout(this.#resolve(host), timeoutMs);
      if (hosts.length === 0) throw new Error("The name has no addresses.");
      entry.addresses = hosts.map((address) => addressOf(address, port));
      entry.failing = false;
    } catch (error) {
      // Said once: while it lasts it is tried every few seconds.
      if (!entry.failing) this.#log.warn({ host, err: error }, "name not resolved, its last addresses are kept");
      entry.failing = true;
    }
  }
}

function parseList(list: string): Entry[] {
  const texts = list
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "");
  if (texts.length === 0) throw new Error("A service needs at least one host:port.");
  return texts.map((text) => {
    const match = /^(?:\[([^\]]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text);
    if (!match) throw new Error(`${JSON.stringify(text)} is not of the form host:port.`);
    const host = (match[1] ?? match[2]) as string;
    const port = match[3] as string;
    return { host, port, addresses: isIP(host) === 0 ? [] : [addressOf(host, port)], failing: false };
  });
}

async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms.`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function lookupAll(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function addressOf(host: string, port: string): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

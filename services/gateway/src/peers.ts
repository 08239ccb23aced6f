import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Logger } from "@florence/service";

/** One process behind a name or an address. */
export interface Peer<C> {
  readonly address: string;
  readonly client: C;
  /** Calls under way. */
  inFlight: number;
  /** Not chosen before this moment (performance.now), because it just was not there. */
  avoidUntil: number;
}

export interface PeersOptions<C> {
  /** host:port, comma-separated; a host name stands for all of its addresses. */
  readonly list: string;
  readonly connect: (address: string) => C;
  readonly log: Logger;
  /** All addresses of a host name. */
  readonly resolve?: (host: string) => Promise<string[]>;
}

// Pods come and go within seconds. A name server answers this often without noticing.
const resolveMs = 5_000;
// A peer that refused a call is given a moment; the others take its calls meanwhile.
const avoidMs = 1_000;

/**
 * The processes of one service. Names are resolved again every few seconds, so that new pods are found and those that went are let go;
 * while a name cannot be resolved the last known addresses stay.
 */
export class Peers<C extends { close(): void }> implements Disposable {
  readonly #options: Required<PeersOptions<C>>;
  readonly #peers = new Map<string, Peer<C>>();
  readonly #timer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;

  constructor(options: PeersOptions<C>) {
    this.#options = { resolve: lookupAll, ...options };
    const named = this.#entries().some(({ host }) => isIP(host) === 0);
    for (const { host, port } of this.#entries()) if (isIP(host) !== 0) this.#add(addressOf(host, port));
    if (!named) return;
    void this.refresh();
    this.#timer = setInterval(() => void this.refresh(), resolveMs);
    this.#timer.unref();
  }

  /** Those that calls may go to now. At the start it waits for the names. */
  async all(): Promise<readonly Peer<C>[]> {
    if (this.#peers.size === 0) await this.refresh();
    return [...this.#peers.values()];
  }

  /** Resolves the names now. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** A call failed because the peer was not there. */
  avoid(peer: Peer<C>): void {
    peer.avoidUntil = performance.now() + avoidMs;
    if (this.#timer) void this.refresh();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const { client } of this.#peers.values()) client.close();
    this.#peers.clear();
  }

  async #refresh(): Promise<void> {
    const { resolve, log } = this.#options;
    const wanted = new Set<string>();
    for (const { host, port } of this.#entries()) {
      try {
        const hosts = isIP(host) === 0 ? await resolve(host) : [host];
        for (const address of hosts) wanted.add(addressOf(address, port));
      } catch (error) {
        log.warn({ host, err: error }, "a service's name cannot be resolved; its last known addresses are kept");
        return;
      }
    }
    for (const address of wanted) if (!this.#peers.has(address)) this.#add(address);
    for (const [address, peer] of this.#peers) {
      if (wanted.has(address)) continue;
      this.#peers.delete(address);
      log.info({ address }, "a peer is gone");
      closeWhenIdle(peer);
    }
  }

  #add(address: string): void {
    this.#peers.set(address, { address, client: this.#options.connect(address), inFlight: 0, avoidUntil: 0 });
  }

  #entries(): { host: string; port: string }[] {
    return this.#options.list
      .split(",")
      .map((entry) => entry.trim())
      .filter((entry) => entry !== "")
      .map((entry) => {
        const match = /^(?:\[([^\]]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(entry);
        if (!match) throw new Error(`${JSON.stringify(entry)} is not of the form host:port.`);
        return { host: (match[1] ?? match[2]) as string, port: match[3] as string };
      });
  }
}

// The longest call that may still be under way at a peer that is gone.
const lingerMs = 120_000;

/** Calls under way at a pod that drains may finish. */
function closeWhenIdle<C extends { close(): void }>(peer: Peer<C>): void {
  const began = performance.now();
  const timer = setInterval(() => {
    if (peer.inFlight > 0 && performance.now() - began < lingerMs) return;
    clearInterval(timer);
    peer.client.close();
  }, 1_000);
  timer.unref();
}

async function lookupAll(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function addressOf(host: string, port: string): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

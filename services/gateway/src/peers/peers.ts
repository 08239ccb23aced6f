import type { GatewayEvents } from "../events.ts";
import { PeerNames, type PeerNamesOptions } from "./names.ts";

/** One process behind a name or an address. */
export interface Peer<C> {
  readonly address: string;
  readonly client: C;
  /** Calls under way. */
  inFlight: number;
  /** Comes last until this moment (performance.now), because it just was not there; 0 where it was. */
  avoidUntil: number;
}

export interface PeersOptions<C> extends PeerNamesOptions {
  readonly connect: (address: string) => C;
  readonly events: GatewayEvents;
  /** Names are resolved again after about this long, milliseconds. Default 5,000. */
  readonly resolveMs?: number;
}

/** Pods come and go within seconds, and a name server answers this often without noticing. Milliseconds. */
export const resolveMsDefault = 5_000;
// However many calls fail at one time, names are not resolved more often for them.
const resolveSoonMs = 500;
// A peer that refused a call is given a moment; the others take its calls meanwhile.
const avoidMs = 1_000;
// Far more than one gateway keeps busy; a name that stands for more is not the service's.
const peersMax = 256;
// The longest call that may still be under way at a peer that is gone.
const lingerMs = 120_000;

/**
 * The processes of one service. Names are resolved again every few seconds, so that new pods are found and those that went are let go;
 * while a name cannot be resolved its last known addresses stay.
 */
export class Peers<C extends { close(): void }> implements Disposable {
  readonly #options: PeersOptions<C>;
  readonly #names: PeerNames;
  readonly #peers = new Map<string, Peer<C>>();
  /** Gone, with calls still under way. */
  readonly #leaving = new Map<Peer<C>, ReturnType<typeof setInterval>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refreshing: Promise<void> | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;
  #disposed = false;

  /** Throws an Error where the list is not made of host:port. */
  constructor(options: PeersOptions<C>) {
    this.#options = options;
    this.#names = new PeerNames(options);
    this.#apply();
    if (!this.#names.changing) return;
    void this.refresh();
    this.#schedule();
  }

  /** Those that calls may go to now. At the start it waits for the names. */
  async all(): Promise<readonly Peer<C>[]> {
    if (this.#peers.size === 0) await this.#refreshSoon();
    return [...this.#peers.values()];
  }

  /** Whether calls may still go to a peer: one that is gone may have been closed. */
  has(peer: Peer<C>): boolean {
    return this.#peers.get(peer.address) === peer;
  }

  /** Resolves the names now. It does not throw. */
  refresh(): Promise<void> {
    this.#refreshedAt = performance.now();
    this.#refreshing ??= this.#names
      .resolve()
      .then(() => {
        if (!this.#disposed) this.#apply();
      })
      .finally(() => {
        this.#refreshing = undefined;
      });
    return this.#refreshing;
  }

  /** A call failed because the peer was not there: others come first for a while. */
  avoid(peer: Peer<C>, ms = avoidMs): void {
    const { service, events } = this.#options;
    peer.avoidUntil = performance.now() + ms;
    events.peerAvoided({ service, address: peer.address, ms });
    void this.#refreshSoon();
  }

  /** A call was answered: the peer is there, again if it was not. */
  answered(peer: Peer<C>): void {
    if (peer.avoidUntil === 0) return;
    peer.avoidUntil = 0;
    const { service, events } = this.#options;
    events.peerBack({ service, address: peer.address });
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
    for (const { client } of this.#peers.values()) client.close();
    this.#peers.clear();
    for (const [{ client }, timer] of this.#leaving) {
      clearInterval(timer);
      client.close();
    }
    this.#leaving.clear();
  }

  /** Jittered, so that gateways started together do not ask together. */
  #schedule(): void {
    const inMs = (this.#options.resolveMs ?? resolveMsDefault) * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(() => {
      void this.refresh();
      this.#schedule();
    }, inMs);
  }

  async #refreshSoon(): Promise<void> {
    if (!this.#names.changing || this.#disposed) return;
    if (this.#refreshing === undefined && performance.now() - this.#refreshedAt < resolveSoonMs) return;
    await this.refresh();
  }

  /** Makes the peers those of the addresses. */
  #apply(): void {
    const { connect, service, events } = this.#options;
    const { addresses } = this.#names;
    const wanted = new Set(addresses.slice(0, peersMax));
    if (addresses.length > peersMax) {
      events.addressesExceeded({ service, addresses: addresses.length, used: peersMax });
    }
    for (const address of wanted) {
      if (this.#peers.has(address)) continue;
      this.#peers.set(address, { address, client: connect(address), inFlight: 0, avoidUntil: 0 });
      events.peerFound({ service, address });
    }
    for (const [address, peer] of this.#peers) {
      if (wanted.has(address)) continue;
      this.#peers.delete(address);
      events.peerGone({ service, address });
      this.#letGo(peer);
    }
  }

  /** Closes a peer once the calls under way at it have ended: a pod that drains finishes them. */
  #letGo(peer: Peer<C>): void {
    const began = performance.now();
    const close = () => {
      if (peer.inFlight > 0 && performance.now() - began < lingerMs) return;
      clearInterval(this.#leaving.get(peer));
      this.#leaving.delete(peer);
      peer.client.close();
    };
    const timer = setInterval(close, 1_000);
    this.#leaving.set(peer, timer);
    close();
  }
}

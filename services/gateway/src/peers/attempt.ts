import { Fault, toFault } from "@florence/service";
import { isAvoided } from "./choice.ts";
import type { Peer, Peers } from "./peers.ts";
import { PeerAbsent } from "./retry.ts";

// A peer that is not there says so at once, and asking the next costs nothing. What fails later was work, and doing it again is a retry.
const refusedWithinMs = 50;

/** One call to the first peer of an order; under way until it is disposed. Throws `unavailable` where there is no peer. */
export class Attempt<C extends { close(): void }> implements Disposable {
  readonly client: C;
  readonly #peers: Peers<C>;
  readonly #peer: Peer<C>;
  readonly #others: readonly Peer<C>[];
  readonly #beganAt = performance.now();
  #answered = false;

  constructor(peers: Peers<C>, order: readonly Peer<C>[]) {
    const [peer, ...others] = order;
    if (peer === undefined) throw new PeerAbsent(noPeer(), { refused: true, othersLeft: false });
    this.client = peer.client;
    this.#peers = peers;
    this.#peer = peer;
    this.#others = others;
    peer.inFlight++;
  }

  /** Something has come back: the peer is there. */
  answered(): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#peers.answered(this.#peer);
  }

  /** The error to throw for one that the call failed with. A peer that was not there is avoided for a while. */
  failed(error: unknown): Fault {
    const fault = toFault(error);
    if (fault.code !== "unavailable") return fault;
    this.#peers.avoid(this.#peer);
    const now = performance.now();
    return new PeerAbsent(fault, {
      refused: !this.#answered && now - this.#beganAt < refusedWithinMs,
      othersLeft: this.#others.some((peer) => this.#peers.has(peer) && !isAvoided(peer, now)),
      cause: fault,
    });
  }

  [Symbol.dispose](): void {
    this.#peer.inFlight--;
  }
}

function noPeer(): Fault {
  return new Fault("unavailable", "No server of this service is there.", { retryAfterS: 1 });
}

import { hash } from "node:crypto";
import type { Peer } from "./peers.ts";

// A peer may carry this much more than its share before an image goes to the next in line; a small system is never even.
const loadFactor = 1.25;
const loadSlack = 4;

/**
 * Peers in the order in which an image should try them: by rendezvous hash, so that the same image goes to the same peer while the
 * set is unchanged, and a peer that goes takes only its own images along. One that carries more than its share, or was not there a
 * moment ago, comes after all others.
 */
export function byImage<P extends Peer<unknown>>(peers: readonly P[], image: string, now: number): P[] {
  const total = peers.reduce((n, peer) => n + peer.inFlight, 0);
  const most = loadFactor * ((total + 1) / peers.length) + loadSlack;
  const rank = (peer: P) => (peer.avoidUntil > now ? 2 : peer.inFlight >= most ? 1 : 0);
  return peers
    .map((peer) => ({ peer, rank: rank(peer), weight: hash("sha256", `${image} ${peer.address}`) }))
    .sort((a, b) => a.rank - b.rank || (a.weight < b.weight ? 1 : -1))
    .map(({ peer }) => peer);
}

/** Peers with the fewest calls under way first; equals in random order. */
export function byLoad<P extends Peer<unknown>>(peers: readonly P[], now: number): P[] {
  const avoided = (peer: P) => (peer.avoidUntil > now ? 1 : 0);
  return peers
    .map((peer) => ({ peer, chance: Math.random() }))
    .sort((a, b) => avoided(a.peer) - avoided(b.peer) || a.peer.inFlight - b.peer.inFlight || a.chance - b.chance)
    .map(({ peer }) => peer);
}

// One call in five may be a second try; a burst of failures may use what quiet times have saved.
const budgetShare = 0.2;
// A burst that a restart of one peer of a few brings about.
const budgetMax = 20;

/** Bounds second tries to a share of all calls, so that a service in trouble is not buried under them. */
export class RetryBudget {
  #saved = budgetMax;

  /** A first try. */
  call(): void {
    this.#saved = Math.min(budgetMax, this.#saved + budgetShare);
  }

  /** Whether one more try may be made; takes it from the budget. */
  take(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }
}

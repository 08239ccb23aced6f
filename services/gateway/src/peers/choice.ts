import { hash32 } from "./hash.ts";
import type { Peer } from "./peers.ts";

// A peer may carry this much more than its share before an image goes to the next in line; a small system is never even.
const loadFactor = 1.25;
const loadSlack = 4;

/**
 * Peers in the order in which an image should try them: by rendezvous hash, so that the same image goes to the same peer while the
 * set is unchanged, and a peer that goes takes only its own images along. One that carries more than its share, or was not there a
 * moment ago, comes after all others; of those that were not there, the one that has had the longest to come back is first.
 */
export function byImage<P extends Peer<unknown>>(peers: readonly P[], image: string, now: number): P[] {
  const total = peers.reduce((n, peer) => n + peer.inFlight, 0);
  const most = loadFactor * ((total + 1) / peers.length) + loadSlack;
  const rank = (peer: P) => (isAvoided(peer, now) ? 2 : peer.inFlight >= most ? 1 : 0);
  return peers
    .map((peer) => ({ peer, rank: rank(peer), weight: hash32(`${image} ${peer.address}`) }))
    .sort((a, b) => a.rank - b.rank || avoidedFirst(a.peer, b.peer, now) || b.weight - a.weight || byAddress(a, b))
    .map(({ peer }) => peer);
}

/** Peers with the fewest calls under way first; equals in random order; those that were not there a moment ago last. */
export function byLoad<P extends Peer<unknown>>(peers: readonly P[], now: number): P[] {
  const rank = (peer: P) => (isAvoided(peer, now) ? 1 : 0);
  return peers
    .map((peer) => ({ peer, rank: rank(peer), chance: Math.random() }))
    .sort(
      (a, b) =>
        a.rank - b.rank ||
        avoidedFirst(a.peer, b.peer, now) ||
        a.peer.inFlight - b.peer.inFlight ||
        a.chance - b.chance,
    )
    .map(({ peer }) => peer);
}

/** Whether a peer was not there a moment ago. */
export function isAvoided({ avoidUntil }: Peer<unknown>, now: number): boolean {
  return avoidUntil > now;
}

/** Orders peers that are avoided by when that ends; says nothing of others. */
function avoidedFirst(a: Peer<unknown>, b: Peer<unknown>, now: number): number {
  return isAvoided(a, now) && isAvoided(b, now) ? a.avoidUntil - b.avoidUntil : 0;
}

type Weighed = { readonly peer: Peer<unknown> };

/** Decides where two hashes are equal, in every process alike. */
function byAddress(a: Weighed, b: Weighed): number {
  return a.peer.address < b.peer.address ? -1 : 1;
}

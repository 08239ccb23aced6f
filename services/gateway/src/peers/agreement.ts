import type { Decoder, GetDecoderModelResponse } from "@florence/proto/decoder";
import type { Encoder, GetEncoderModelResponse } from "@florence/proto/encoder";
import type { Model } from "@florence/proto/model";
import { type Client, Fault, type Logger, toFault } from "@florence/service";
import type { Peer, Peers } from "./peers.ts";

type EncoderPeer = Peer<Client<typeof Encoder>>;
type DecoderPeer = Peer<Client<typeof Decoder>>;
type AnyPeer = EncoderPeer | DecoderPeer;

/** Those that answered when all were last asked, with what they said. */
interface Round {
  readonly encoders: Map<EncoderPeer, GetEncoderModelResponse>;
  readonly decoders: Map<DecoderPeer, GetDecoderModelResponse>;
  failure?: unknown;
}

// A peer that needs longer to name its model is not there.
const askMs = 2_000;
// A round and the pause to the next.
const silentMs = 4_000;
// Before anything is agreed, the first pair waits this long for others, which may be more.
const firstMs = 100;

/**
 * The checkpoint that this gateway works with: one that an encoder and a decoder have loaded, and of several the one that most have.
 * Peers with another are left out, because an embedding means nothing to a decoder of other weights.
 */
export class Agreement {
  readonly #encoders: Peers<Client<typeof Encoder>>;
  readonly #decoders: Peers<Client<typeof Decoder>>;
  readonly #log: Logger;
  /** What each peer said last; one that is silent for a moment is taken to have kept its model. */
  readonly #models = new WeakMap<AnyPeer, Model>();
  /** The digest a peer was last left out for, so that it is said once. */
  readonly #leftOut = new WeakMap<AnyPeer, string>();
  #digest: string | undefined;
  /** The round that is under way. */
  #round: Promise<Round> | undefined;
  #everAsked = false;

  constructor(encoders: Peers<Client<typeof Encoder>>, decoders: Peers<Client<typeof Decoder>>, log: Logger) {
    this.#encoders = encoders;
    this.#decoders = decoders;
    this.#log = log;
  }

  /** What an encoder that answers says of itself; one of the agreed checkpoint if there is one. Throws `unavailable`. */
  async encoder(): Promise<GetEncoderModelResponse> {
    const { encoders, failure } = await this.#ask();
    return this.#pick(encoders, failure);
  }

  /** The same of a decoder. */
  async decoder(): Promise<GetDecoderModelResponse> {
    const { decoders, failure } = await this.#ask();
    return this.#pick(decoders, failure);
  }

  /** Of these peers the ones to call: those of the agreed checkpoint; while none of them is known to have it, those never heard of. */
  async members<P extends AnyPeer>(peers: readonly P[]): Promise<readonly P[]> {
    if (!this.#everAsked) await this.#ask();
    const digest = this.#digest;
    if (digest === undefined) return peers;
    const members = peers.filter((peer) => this.#models.get(peer)?.digest === digest);
    return members.length > 0 ? members : peers.filter((peer) => !this.#models.has(peer));
  }

  #pick<R extends { model?: Model | undefined }>(answers: ReadonlyMap<AnyPeer, R>, failure: unknown): R {
    const all = [...answers.values()];
    const answer = all.find(({ model }) => model?.digest === this.#digest) ?? all[0];
    if (answer === undefined) throw new Fault("unavailable", "No server of this service answers.", { cause: failure });
    return answer;
  }

  /** Asks all peers. Returns as soon as a pair agrees, so that a peer that hangs holds nobody up. Callers share one round. */
  #ask(): Promise<Round> {
    this.#round ??= new Promise((resolve, reject) => {
      const ended = () => {
        this.#round = undefined;
        this.#everAsked = true;
      };
      this.#askAll(resolve).catch(reject).finally(ended);
    });
    return this.#round;
  }

  async #askAll(done: (round: Round) => void): Promise<void> {
    const round: Round = { encoders: new Map(), decoders: new Map() };
    const [encoders, decoders] = await Promise.all([this.#encoders.all(), this.#decoders.all()]);
    let first: NodeJS.Timeout | undefined;
    const settle = () => {
      this.#settle(round, [...encoders, ...decoders]);
      done(round);
    };
    const noted = async <P extends AnyPeer, R extends { model?: Model | undefined }>(
      peer: P,
      answer: Promise<R>,
      answers: Map<P, R>,
    ) => {
      try {
        const response = await answer;
        if (response.model === undefined) return;
        this.#models.set(peer, response.model);
        answers.set(peer, response);
        const pairs = shared(round);
        if (this.#digest === undefined && pairs.length > 0) first ??= setTimeout(settle, firstMs);
        if (pairs.some((digest) => digest === this.#digest)) done(round);
      } catch (error) {
        round.failure = error;
        // It holds the connection and does nothing. A call would hang with it, so the others come first until it is asked again.
        if (toFault(error).code === "deadline_exceeded") peer.avoidUntil = performance.now() + silentMs;
      }
    };
    await Promise.all([
      ...encoders.map((peer) => noted(peer, peer.client.getEncoderModel({}, { deadlineMs: askMs }), round.encoders)),
      ...decoders.map((peer) => noted(peer, peer.client.getDecoderModel({}, { deadlineMs: askMs }), round.decoders)),
    ]);
    clearTimeout(first);
    settle();
  }

  /** Chooses again when all have been heard: by then it is known what most have. */
  #settle(round: Round, peers: readonly AnyPeer[]): void {
    const count = (digest: string) => peers.filter((peer) => this.#models.get(peer)?.digest === digest).length;
    const weight = (digest: string) => count(digest) + (digest === this.#digest ? 0.5 : 0); // A tie changes nothing.
    const [best] = shared(round).sort((a, b) => weight(b) - weight(a));
    if (best !== undefined) this.#digest = best; // Else all is silence, and who had what stands.
    for (const peer of peers) {
      const digest = this.#models.get(peer)?.digest;
      if (digest === undefined || digest === this.#digest) this.#leftOut.delete(peer);
      else if (this.#digest !== undefined && this.#leftOut.get(peer) !== digest) {
        this.#leftOut.set(peer, digest);
        this.#log.warn(
          { address: peer.address, digest, agreed: this.#digest },
          "peer has another checkpoint, left out",
        );
      }
    }
  }
}

/** The checkpoints that both an encoder and a decoder answered with. */
function shared({ encoders, decoders }: Round): string[] {
  const digests = (answers: ReadonlyMap<unknown, { model?: Model | undefined }>) =>
    new Set([...answers.values()].map(({ model }) => model?.digest ?? ""));
  const ofDecoders = digests(decoders);
  return [...digests(encoders)].filter((digest) => ofDecoders.has(digest));
}

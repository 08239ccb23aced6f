import type { Decoder } from "@florence/proto/decoder";
import type { Encoder } from "@florence/proto/encoder";
import type { Model } from "@florence/proto/model";
import { type Client, Fault, toFault, within } from "@florence/service";
import type { GatewayEvents, ServiceName } from "../events.ts";
import type { Peer, Peers } from "./peers.ts";

type EncoderPeer = Peer<Client<typeof Encoder>>;
type DecoderPeer = Peer<Client<typeof Decoder>>;
type AnyPeer = Peer<unknown>;

/** The checkpoint that both services have loaded. Graphs may be stored in different precisions. */
export interface ModelPair {
  readonly encoder: Model;
  readonly decoder: Model;
}

/** Who knows what is loaded. */
export interface LoadedModels {
  /** Asked at most once a second. Throws `unavailable` when a service does not answer or the two have loaded different checkpoints. */
  get(): Promise<ModelPair>;
  /** As last seen: a moment's silence of a service neither fails nor delays a call that can do without it. The first one waits. */
  known(): Promise<ModelPair>;
}

/** Those that answered when all were last asked, with what they said. */
interface Round {
  readonly encoders: Map<EncoderPeer, Model>;
  readonly decoders: Map<DecoderPeer, Model>;
  /** What the last of each that failed failed with. */
  readonly failures: { encoder?: unknown; decoder?: unknown };
}

// Probes and requests come far more often than a checkpoint changes; a second is what a rollout may show stale.
const freshMs = 1_000;
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
export class Agreement implements LoadedModels {
  readonly #encoders: Peers<Client<typeof Encoder>>;
  readonly #decoders: Peers<Client<typeof Decoder>>;
  readonly #events: GatewayEvents;
  /** What each peer said last; one that is silent for a moment is taken to have kept its model. */
  readonly #models = new WeakMap<AnyPeer, Model>();
  /** The digest a peer was last left out for, so that it is said once. */
  readonly #leftOut = new WeakMap<AnyPeer, string>();
  #digest: string | undefined;
  /** Whether a round is under way. */
  #asking = false;
  #last: { readonly at: number; readonly round: Promise<Round> } | undefined;
  #known: ModelPair | undefined;
  #everAsked = false;

  constructor(encoders: Peers<Client<typeof Encoder>>, decoders: Peers<Client<typeof Decoder>>, events: GatewayEvents) {
    this.#encoders = encoders;
    this.#decoders = decoders;
    this.#events = events;
  }

  get(): Promise<ModelPair> {
    return this.#pair(freshMs);
  }

  async known(): Promise<ModelPair> {
    // Services may have come up since all was silence: the first call of all asks anew.
    if (this.#known === undefined) return await this.#pair(0);
    this.#pair(freshMs).catch(() => {}); // Looked up for those who come later.
    return this.#known;
  }

  /** Of these peers the ones to call: those of the agreed checkpoint; while none of them is known to have it, those never heard of. */
  async members<P extends AnyPeer>(peers: readonly P[]): Promise<readonly P[]> {
    if (!this.#everAsked) await this.#fresh(freshMs);
    const digest = this.#digest;
    if (digest === undefined) return peers;
    const members = peers.filter((peer) => this.#models.get(peer)?.digest === digest);
    return members.length > 0 ? members : peers.filter((peer) => !this.#models.has(peer));
  }

  /** What is loaded, as a round says that is at most `ageMs` old. */
  async #pair(ageMs: number): Promise<ModelPair> {
    const { encoders, decoders, failures } = await this.#fresh(ageMs);
    const encoder = this.#pick("encoder", encoders, failures.encoder);
    const decoder = this.#pick("decoder", decoders, failures.decoder);
    if (encoder.digest !== decoder.digest) {
      throw new Fault("unavailable", "Encoder and decoder have loaded different checkpoints.", {
        internal: `Encoder ${encoder.name} ${encoder.digest}, decoder ${decoder.name} ${decoder.digest}.`,
      });
    }
    this.#known = { encoder, decoder };
    return this.#known;
  }

  #pick(service: ServiceName, answers: ReadonlyMap<AnyPeer, Model>, cause: unknown): Model {
    const all = [...answers.values()];
    const model = all.find(({ digest }) => digest === this.#digest) ?? all[0];
    if (model === undefined) throw new Fault("unavailable", `The ${service} does not answer.`, { cause });
    return model;
  }

  /** The round that is under way, or one that began at most `ageMs` ago. */
  #fresh(ageMs: number): Promise<Round> {
    const now = performance.now();
    if (this.#last === undefined || (!this.#asking && now - this.#last.at > ageMs)) {
      this.#last = { at: now, round: this.#ask() };
    }
    return this.#last.round;
  }

  /** Asks all peers. Resolves as soon as a pair agrees, so that a peer that hangs holds nobody up; the round goes on until all are heard. */
  #ask(): Promise<Round> {
    this.#asking = true;
    return new Promise((resolve, reject) => {
      const ended = () => {
        this.#asking = false;
        this.#everAsked = true;
      };
      this.#askAll(resolve).catch(reject).finally(ended);
    });
  }

  async #askAll(done: (round: Round) => void): Promise<void> {
    const round: Round = { encoders: new Map(), decoders: new Map(), failures: {} };
    const [encoders, decoders] = await Promise.all([this.#encoders.all(), this.#decoders.all()]);
    let first: ReturnType<typeof setTimeout> | undefined;
    const settle = () => {
      this.#settle(round, encoders, decoders);
      done(round);
    };
    const heard = () => {
      const pairs = shared(round);
      if (this.#digest === undefined && pairs.length > 0) first ??= setTimeout(settle, firstMs);
      if (pairs.some((digest) => digest === this.#digest)) done(round);
    };
    const noted = async <C extends { close(): void }>(
      service: ServiceName,
      peers: Peers<C>,
      peer: Peer<C>,
      answer: Promise<{ model?: Model | undefined }>,
      models: Map<Peer<C>, Model>,
    ) => {
      try {
        const { model } = await answer;
        if (model === undefined) return;
        this.#models.set(peer, model);
        models.set(peer, model);
        heard();
      } catch (error) {
        round.failures[service] = error;
        // It holds the connection and does nothing. A call would hang with it, so the others come first until it is asked again.
        if (toFault(error).code === "deadline_exceeded") peers.avoid(peer, silentMs);
      }
    };
    const options = { deadlineMs: askMs };
    await Promise.all([
      ...encoders.map((peer) =>
        noted(
          "encoder",
          this.#encoders,
          peer,
          within(peer.client.getEncoderModel({}, options), silentMs),
          round.encoders,
        ),
      ),
      ...decoders.map((peer) =>
        noted(
          "decoder",
          this.#decoders,
          peer,
          within(peer.client.getDecoderModel({}, options), silentMs),
          round.decoders,
        ),
      ),
    ]);
    clearTimeout(first);
    settle();
  }

  /** Chooses again when all have been heard: by then it is known what most have. */
  #settle(round: Round, encoders: readonly EncoderPeer[], decoders: readonly DecoderPeer[]): void {
    const peers: readonly AnyPeer[] = [...encoders, ...decoders];
    const count = (digest: string) => peers.filter((peer) => this.#models.get(peer)?.digest === digest).length;
    const weight = (digest: string) => count(digest) + (digest === this.#digest ? 0.5 : 0); // A tie changes nothing.
    const [best] = shared(round).sort((a, b) => weight(b) - weight(a));
    if (best !== undefined) this.#digest = best; // Else all is silence, and who had what stands.
    for (const peer of encoders) this.#noteLeftOut("encoder", peer);
    for (const peer of decoders) this.#noteLeftOut("decoder", peer);
  }

  #noteLeftOut(service: ServiceName, peer: AnyPeer): void {
    const agreed = this.#digest;
    const digest = this.#models.get(peer)?.digest;
    if (digest === undefined || digest === agreed) {
      this.#leftOut.delete(peer);
    } else if (agreed !== undefined && this.#leftOut.get(peer) !== digest) {
      this.#leftOut.set(peer, digest);
      this.#events.peerLeftOut({ service, address: peer.address, digest, agreed });
    }
  }
}

/** The checkpoints that both an encoder and a decoder answered with. */
function shared({ encoders, decoders }: Round): string[] {
  const digests = (answers: ReadonlyMap<unknown, Model>) => new Set([...answers.values()].map(({ digest }) => digest));
  const ofDecoders = digests(decoders);
  return [...digests(encoders)].filter((digest) => ofDecoders.has(digest));
}

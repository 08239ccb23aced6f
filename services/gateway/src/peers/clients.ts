import { hash } from "node:crypto";
import type { Decoder } from "@florence/proto/decoder";
import type { Encoder } from "@florence/proto/encoder";
import { type CallOptions, type Client, Fault, type Logger, toFault } from "@florence/service";
import type { DecoderClient, EncoderClient } from "../annotate/encode.ts";
import { Agreement } from "./agreement.ts";
import { byImage, byLoad, RetryBudget } from "./choice.ts";
import type { Peer, Peers } from "./peers.ts";

// An image that three encoders in a row cannot take will not be taken.
const triesMax = 3;

// A peer that is not there says so at once, and asking the next costs nothing. What fails later was work, and doing it again is a retry.
const refusedWithinMs = 50;

/** Whether the next peer may be asked: freely after a refusal, within the budget after work was lost. */
function mayTryNext(budget: RetryBudget, beganAt: number): boolean {
  return performance.now() - beganAt < refusedWithinMs || budget.take();
}

/**
 * All encoders as one and all decoders as one, of those that agree on the checkpoint. An image goes to its own encoder, and to the next
 * when that is not there. A call goes to the least busy decoder, and is tried elsewhere only while nothing of it has come back.
 */
export function balancedClients(
  encoders: Peers<Client<typeof Encoder>>,
  decoders: Peers<Client<typeof Decoder>>,
  log: Logger,
): { encoder: EncoderClient; decoder: DecoderClient } {
  const agreement = new Agreement(encoders, decoders, log);
  const encodeBudget = new RetryBudget();
  const generateBudget = new RetryBudget();
  const encoder: EncoderClient = {
    async encode(request, options) {
      const image = hash("sha256", request.image as Uint8Array);
      const order = byImage(await agreement.members(await encoders.all()), image, performance.now());
      const remaining = countdown(options);
      encodeBudget.call();
      for (const { peer, isLast } of tries(encoders, order)) {
        const beganAt = performance.now();
        peer.inFlight++;
        try {
          return await peer.client.encode(request, remaining());
        } catch (error) {
          if (!isAbsent(error)) throw error;
          encoders.avoid(peer);
          if (isLast() || !mayTryNext(encodeBudget, beganAt)) throw error;
        } finally {
          peer.inFlight--;
        }
      }
      throw none();
    },
    getEncoderModel: () => agreement.encoder(),
  };
  const decoder: DecoderClient = {
    async *generate(request, options) {
      const order = byLoad(await agreement.members(await decoders.all()), performance.now());
      const remaining = countdown(options);
      generateBudget.call();
      for (const { peer, isLast } of tries(decoders, order)) {
        let begun = false;
        const beganAt = performance.now();
        peer.inFlight++;
        try {
          for await (const response of peer.client.generate(request, remaining())) {
            begun = true;
            yield response;
          }
          return;
        } catch (error) {
          if (!isAbsent(error)) throw error;
          decoders.avoid(peer);
          if (begun || isLast() || !mayTryNext(generateBudget, beganAt)) throw error;
        } finally {
          peer.inFlight--;
        }
      }
      throw none();
    },
    getDecoderModel: () => agreement.decoder(),
  };
  return { encoder, decoder };
}

/** The first few peers of an order, without those that went while the ones before were tried. */
function* tries<C extends { close(): void }>(
  peers: Peers<C>,
  order: readonly Peer<C>[],
): Generator<{ peer: Peer<C>; isLast: () => boolean }> {
  for (const [i, peer] of order.slice(0, triesMax).entries()) {
    if (!peers.has(peer)) continue;
    const isLast = () => !order.slice(i + 1, triesMax).some((next) => peers.has(next));
    yield { peer, isLast };
  }
}

/** The options of a call for each of its tries: a later one has what the ones before have left of its deadline. */
function countdown(options: CallOptions = {}): () => CallOptions {
  const { deadlineMs } = options;
  if (deadlineMs === undefined) return () => options;
  const beganAt = performance.now();
  return () => ({ ...options, deadlineMs: Math.max(1, deadlineMs - (performance.now() - beganAt)) });
}

function isAbsent(error: unknown): boolean {
  return toFault(error).code === "unavailable";
}

function none(): Fault {
  return new Fault("unavailable", "No server of this service is there.", { retryAfterS: 1 });
}

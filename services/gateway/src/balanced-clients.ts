import { hash } from "node:crypto";
import type { Decoder } from "@florence/proto/decoder";
import type { Encoder } from "@florence/proto/encoder";
import { type Client, Fault, toFault } from "@florence/service";
import { byLoad, byPicture, RetryBudget } from "./balance.ts";
import type { Peer, Peers } from "./peers.ts";
import type { DecoderClient, EncoderClient } from "./upstream.ts";

// A picture that three encoders in a row cannot take will not be taken.
const triesMax = 3;

// A peer that is not there says so at once, and asking the next costs nothing. What fails later was work, and doing it again is a retry.
const refusedWithinMs = 50;

/** Whether the next peer may be asked: freely after a refusal, within the budget after work was lost. */
function mayTryNext(budget: RetryBudget, beganAt: number): boolean {
  return performance.now() - beganAt < refusedWithinMs || budget.take();
}

/** All encoders as one: a picture goes to its own encoder, and to the next when that is not there. */
export function balancedEncoder(peers: Peers<Client<typeof Encoder>>): EncoderClient {
  const budget = new RetryBudget();
  return {
    async encode(request, options) {
      const order = byPicture(await peers.all(), hash("sha256", request.picture as Uint8Array), performance.now());
      return tryInTurn(peers, order, budget, (client) => client.encode(request, options));
    },
    getEncoderModel: async (request, options) =>
      tryInTurn(peers, byLoad(await peers.all(), performance.now()), budget, (client) =>
        client.getEncoderModel(request, options),
      ),
  };
}

/** All decoders as one: a call goes to the least busy. It is tried elsewhere only while nothing of it has come back. */
export function balancedDecoder(peers: Peers<Client<typeof Decoder>>): DecoderClient {
  const budget = new RetryBudget();
  return {
    async *generate(request, options) {
      budget.call();
      const order = byLoad(await peers.all(), performance.now());
      for (const [i, peer] of order.entries()) {
        let begun = false;
        const beganAt = performance.now();
        peer.inFlight++;
        try {
          for await (const response of peer.client.generate(request, options)) {
            begun = true;
            yield response;
          }
          return;
        } catch (error) {
          if (!isAbsent(error)) throw error;
          peers.avoid(peer);
          if (begun || i + 1 >= Math.min(order.length, triesMax) || !mayTryNext(budget, beganAt)) throw error;
        } finally {
          peer.inFlight--;
        }
      }
      throw none();
    },
    getDecoderModel: async (request, options) =>
      tryInTurn(peers, byLoad(await peers.all(), performance.now()), budget, (client) =>
        client.getDecoderModel(request, options),
      ),
  };
}

/** Makes a call that may be made twice, at one peer after the other while they are unavailable. */
async function tryInTurn<C extends { close(): void }, T>(
  peers: Peers<C>,
  order: readonly Peer<C>[],
  budget: RetryBudget,
  call: (client: C) => Promise<T>,
): Promise<T> {
  budget.call();
  for (const [i, peer] of order.entries()) {
    const beganAt = performance.now();
    peer.inFlight++;
    try {
      return await call(peer.client);
    } catch (error) {
      if (!isAbsent(error)) throw error;
      peers.avoid(peer);
      if (i + 1 >= Math.min(order.length, triesMax) || !mayTryNext(budget, beganAt)) throw error;
    } finally {
      peer.inFlight--;
    }
  }
  throw none();
}

function isAbsent(error: unknown): boolean {
  return toFault(error).code === "unavailable";
}

function none(): Fault {
  return new Fault("unavailable", "No server of this service is known.", { retryAfterS: 1 });
}

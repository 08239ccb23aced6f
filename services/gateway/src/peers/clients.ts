import type { Decoder } from "@florence/proto/decoder";
import type { Encoder } from "@florence/proto/encoder";
import type { Client } from "@florence/service";
import type { GatewayEvents } from "../events.ts";
import { Agreement, type LoadedModels } from "./agreement.ts";
import { Attempt } from "./attempt.ts";
import { byImage, byLoad } from "./choice.ts";
import type { Peers } from "./peers.ts";

/** What the gateway calls on an encoder; grpc-js in Node, anything of the same shape elsewhere. */
export type EncoderClient = Pick<Client<typeof Encoder>, "encode">;

/** What the gateway calls on a decoder. */
export type DecoderClient = Pick<Client<typeof Decoder>, "generate">;

/**
 * All encoders as one and all decoders as one, of those that agree on the checkpoint, and what they have loaded. An image goes to its own
 * encoder, and to the next when that is not there. A call goes to the least busy decoder. Each call is one try: retry.ts says whether there
 * is another.
 */
export function balancedClients(
  encoders: Peers<Client<typeof Encoder>>,
  decoders: Peers<Client<typeof Decoder>>,
  events: GatewayEvents,
): { readonly encoder: EncoderClient; readonly decoder: DecoderClient; readonly models: LoadedModels } {
  const agreement = new Agreement(encoders, decoders, events);
  const encoder: EncoderClient = {
    async encode(request, options) {
      const image = await digestOf(request.image as Uint8Array<ArrayBuffer>);
      const members = await agreement.members(await encoders.all());
      using attempt = new Attempt(encoders, byImage(members, image, performance.now()));
      try {
        const response = await attempt.client.encode(request, options);
        attempt.answered();
        return response;
      } catch (error) {
        throw attempt.failed(error);
      }
    },
  };
  const decoder: DecoderClient = {
    async *generate(request, options) {
      const members = await agreement.members(await decoders.all());
      using attempt = new Attempt(decoders, byLoad(members, performance.now()));
      try {
        for await (const response of attempt.client.generate(request, options)) {
          attempt.answered();
          yield response;
        }
      } catch (error) {
        throw attempt.failed(error);
      }
    },
  };
  return { encoder, decoder, models: agreement };
}

/** SHA-256 of an image's bytes, in hexadecimal. */
async function digestOf(image: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", image));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

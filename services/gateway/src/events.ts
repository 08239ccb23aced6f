import { type Events, event, type Fault } from "@florence/service";

interface OfRequest {
  readonly requestId: string;
}

interface OfPeer {
  readonly service: ServiceName;
  /** host:port */
  readonly address: string;
}

interface OfTask extends OfRequest {
  /** The task's place in its request. */
  readonly index: number;
}

/** What a peer is one of. */
export type ServiceName = "encoder" | "decoder";

/** Everything that happens in a gateway. Logs, counters and telemetry are listeners of it; none is told an image, a prompt or an answer. */
export const gatewayEvents = {
  requestReceived: event<OfRequest & { readonly method: string; readonly path: string }>("A request's head has come."),
  requestAdmitted: event<OfRequest & { readonly readMs: number; readonly waitMs: number }>(
    "A request was read and checked, and has a place among those served: how long each took.",
  ),
  requestRefused: event<OfRequest & { readonly fault: Fault }>("A request is answered with a fault of its caller's."),
  requestFailed: event<OfRequest & { readonly path: string; readonly fault: Fault }>(
    "A request is answered with a fault of the system's.",
  ),
  requestAnswered: event<
    OfRequest & { readonly method: string; readonly path: string; readonly status: number; readonly ms: number }
  >("An answer's head is ready; of a stream, the events are still to come."),
  streamFailed: event<OfRequest & { readonly fault: Fault }>("A stream ends early, with a fault of the system's."),

  imageReceived: event<OfRequest & { readonly bytes: number }>("A request brought its image along."),
  imageFetched: event<OfRequest & { readonly bytes: number; readonly ms: number }>("An image was fetched by its URL."),

  encodeAsked: event<OfRequest>("An encoder is asked for an image's embedding."),
  encodeAnswered: event<OfRequest & { readonly ms: number; readonly cache: string; readonly tier: string }>(
    "The embedding is there: how it was come by, and from where.",
  ),
  encodeRetried: event<OfRequest & { readonly fault: Fault; readonly pauseMs: number }>(
    "No encoder answered; one is asked again after the pause.",
  ),
  embeddingEvicted: event<OfRequest>("The embedding is gone before its tasks are done; the image is encoded again."),

  generateAsked: event<OfRequest & { readonly tasks: number }>("A decoder is asked for the answers of open tasks."),
  generateRetried: event<OfRequest & { readonly fault: Fault; readonly pauseMs: number; readonly tasks: number }>(
    "The decoder was lost; the open tasks are asked again after the pause.",
  ),
  tokenGenerated: event<OfTask>("A token of a streamed answer has come."),
  regionGenerated: event<OfTask>("A region of a streamed answer has come."),
  taskFinished: event<
    OfTask & {
      readonly task: string;
      readonly promptTokens: number;
      readonly completionTokens: number;
      readonly queueMs: number;
      readonly promptMs: number;
      readonly decodeMs: number;
    }
  >("A task has its answer."),
  taskFailed: event<OfTask & { readonly task: string; readonly fault: Fault }>("A task ends without an answer."),

  peerFound: event<OfPeer>("Calls may go to a new peer."),
  peerGone: event<OfPeer>("A peer is no longer among those that its name stands for."),
  peerLeftOut: event<OfPeer & { readonly digest: string; readonly agreed: string }>(
    "A peer gets no calls, because it has another checkpoint than most.",
  ),
  peerAvoided: event<OfPeer & { readonly ms: number }>("A peer did not answer and comes last for a while."),
  peerBack: event<OfPeer>("A peer that was avoided has answered."),
  nameUnresolved: event<{ readonly service: ServiceName; readonly host: string; readonly error: unknown }>(
    "A name cannot be resolved; its last addresses are kept. Said once while it lasts.",
  ),
  addressesExceeded: event<{ readonly service: ServiceName; readonly addresses: number; readonly used: number }>(
    "A name stands for more addresses than are used.",
  ),
};

/** Says what happens; who hears it is chosen where a gateway is started. */
export type GatewayEvents = Events<typeof gatewayEvents>;

import type { Model } from "@florence/proto/model";
import { Fault } from "@florence/service";
import type { HeldBytesAccount } from "../http/body.ts";
import type { Call } from "../http/call.ts";
import type { Limits } from "../limits.ts";
import type { ModelProbe } from "../peers/models.ts";
import type { AnnotateEvent, ErrorJson, ImageJson, ResultJson, SummaryJson } from "./answer.ts";
import { type DecoderClient, type EncodedImage, type EncoderClient, encodeImage, encodeShare } from "./encode.ts";
import { type DecodeTimes, generate } from "./generate.ts";
import type { HeldImage, ImageIds } from "./image-id.ts";
import type { UrlFetch } from "./image-source.ts";
import type { AnnotateRequest, UploadRequest } from "./request.ts";

/** What answering a call takes. */
export interface AnnotateContext {
  readonly encoder: EncoderClient;
  readonly decoder: DecoderClient;
  readonly models: ModelProbe;
  readonly ids: ImageIds;
  readonly limits: Limits;
  readonly fetchUrl: UrlFetch;
  readonly call: Call;
  readonly account: HeldBytesAccount;
}

/** The JSON answer of an annotate call. */
export interface AnswerJson extends SummaryJson {
  /** In the order of the tasks. */
  readonly results: readonly (ResultJson | ErrorJson)[];
}

/**
 * Encodes the image if need be, runs the tasks, and reports everything as it happens, `done` last. Throws a Fault
 * where the call as a whole fails.
 */
export async function* annotate(request: AnnotateRequest, context: AnnotateContext): AsyncGenerator<AnnotateEvent> {
  const { call, decoder } = context;
  const receiveMs = call.elapsedMs();
  const bytes = await imageBytes(request, context);
  const fetchMs = call.elapsedMs() - receiveMs;
  const image = await encoded(request, bytes, context, encodeShare);
  const { decoder: model } = await context.models.known(); // Before the work, so that it cannot fail after it.
  const times: DecodeTimes = { decode_queue: 0, prompt: 0, decode: 0 };
  let { held } = image;
  const encodeAgain = bytes && (async () => (held = (await encoded(request, bytes, context, encodeShare)).held));

  yield* generate(request, held, { decoder, call, encodeAgain, times });

  const timing = {
    receive: receiveMs,
    ...(request.image.kind === "url" && { fetch: fetchMs }),
    ...image.timingMs,
    ...times,
  };
  yield { event: "done", data: await summary({ ...image, held }, model, timing, context) };
}

/** Reads the events of a call to its end and puts them together as one answer. */
export async function collect(request: AnnotateRequest, events: AsyncIterable<AnnotateEvent>): Promise<AnswerJson> {
  const results = new Array<ResultJson | ErrorJson>(request.tasks.length);
  for await (const { event, data } of events) {
    if (event === "result" || event === "error") {
      const { index, ...result } = data;
      results[index] = result;
    } else if (event === "done") {
      const { id, model, image, cache, timing_ms } = data;
      return { id, model, image, results, cache, timing_ms };
    }
  }
  throw new Fault("internal", "Something went wrong inside the service.", {
    internal: "The events ended without done.",
  });
}

/** Encodes an image to be asked about later. */
export async function upload(request: UploadRequest, context: AnnotateContext): Promise<SummaryJson> {
  const receiveMs = context.call.elapsedMs();
  const image = await encoded(request, await imageBytes(request, context), context, 1);
  const { decoder: model } = await context.models.known();
  return summary(image, model, { receive: receiveMs, ...image.timingMs }, context);
}

/** The image's bytes; undefined for an image that is named by its id. */
async function imageBytes({ image }: UploadRequest, context: AnnotateContext) {
  if (image.kind === "id") return undefined;
  if (image.kind === "bytes") return image.bytes;
  return context.fetchUrl(image.url, context.limits.uploadBytesMax, context.account, context.call.signal);
}

async function encoded(
  { image, autoOrient }: UploadRequest,
  bytes: Uint8Array<ArrayBuffer> | undefined,
  { encoder, ids, call }: AnnotateContext,
  share: number,
): Promise<EncodedImage> {
  if (bytes !== undefined) return encodeImage(encoder, bytes, autoOrient, call, share);
  if (image.kind !== "id") throw new Error("An image without an id has bytes.");
  // Which tier the decoder finds it in is not known here.
  return { held: await ids.open(image.id), cache: { result: "hit", tier: "none", encodings: 0 }, timingMs: {} };
}

async function summary(
  { held, cache }: EncodedImage,
  { name, digest, precision }: Model,
  timing: Readonly<Record<string, number>>,
  { ids, call }: AnnotateContext,
): Promise<SummaryJson> {
  const all = { ...timing, total: call.elapsedMs() };
  return {
    id: call.requestId,
    model: { name, digest, precision },
    image: await imageJson(held, ids),
    cache,
    // A hundredth of a millisecond is finer than the clock's use.
    timing_ms: Object.fromEntries(Object.entries(all).map(([key, ms]) => [key, Math.round(ms * 100) / 100])),
  };
}

async function imageJson(held: HeldImage, ids: ImageIds): Promise<ImageJson> {
  const { width, height, expiresAtMs } = held;
  const expires = expiresAtMs === 0 ? null : new Date(expiresAtMs).toISOString();
  return { id: await ids.seal(held), width, height, expires_at: expires };
}

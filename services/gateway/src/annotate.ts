import type { Model } from "@florence/proto/model";
import { Fault } from "@florence/service";
import type { AnnotateRequest, UploadRequest } from "./annotate-request.ts";
import type { HeldBytesAccount } from "./body.ts";
import type { Call } from "./call.ts";
import type { AnnotateEvent, ErrorJson, ImageJson, ResultJson, SummaryJson } from "./events.ts";
import { type DecodeTimes, generate } from "./generate.ts";
import type { HeldImage, ImageIds } from "./image-id.ts";
import type { Limits } from "./limits.ts";
import type { ModelProbe } from "./models.ts";
import type { UrlFetch } from "./picture.ts";
import { type DecoderClient, type EncodedPicture, type EncoderClient, encodePicture, encodeShare } from "./upstream.ts";

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
 * Encodes the picture if need be, runs the tasks, and reports everything as it happens, `done` last. Throws a Fault
 * where the call as a whole fails.
 */
export async function* annotate(request: AnnotateRequest, context: AnnotateContext): AsyncGenerator<AnnotateEvent> {
  const { call, decoder } = context;
  const receiveMs = call.elapsedMs();
  const bytes = await pictureBytes(request, context);
  const fetchMs = call.elapsedMs() - receiveMs;
  const picture = await encoded(request, bytes, context, encodeShare);
  const { decoder: model } = await context.models.known(); // Before the work, so that it cannot fail after it.
  const times: DecodeTimes = { decode_queue: 0, prompt: 0, decode: 0 };
  let { held } = picture;
  const encodeAgain = bytes && (async () => (held = (await encoded(request, bytes, context, encodeShare)).held));

  yield* generate(request, held, { decoder, call, encodeAgain, times });

  const timing = {
    receive: receiveMs,
    ...(request.picture.kind === "url" && { fetch: fetchMs }),
    ...picture.timingMs,
    ...times,
  };
  yield { event: "done", data: await summary({ ...picture, held }, model, timing, context) };
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

/** Encodes a picture to be asked about later. */
export async function upload(request: UploadRequest, context: AnnotateContext): Promise<SummaryJson> {
  const receiveMs = context.call.elapsedMs();
  const picture = await encoded(request, await pictureBytes(request, context), context, 1);
  const { decoder: model } = await context.models.known();
  return summary(picture, model, { receive: receiveMs, ...picture.timingMs }, context);
}

/** The picture's bytes; undefined for a picture that is named by its id. */
async function pictureBytes({ picture }: UploadRequest, context: AnnotateContext) {
  if (picture.kind === "id") return undefined;
  if (picture.kind === "bytes") return picture.bytes;
  return context.fetchUrl(picture.url, context.limits.uploadBytesMax, context.account, context.call.signal);
}

async function encoded(
  { picture, autoOrient }: UploadRequest,
  bytes: Uint8Array<ArrayBuffer> | undefined,
  { encoder, ids, call }: AnnotateContext,
  share: number,
): Promise<EncodedPicture> {
  if (bytes !== undefined) return encodePicture(encoder, bytes, autoOrient, call, share);
  if (picture.kind !== "id") throw new Error("A picture without an id has bytes.");
  // Which tier the decoder finds it in is not known here.
  return { held: await ids.open(picture.id), cache: { result: "hit", tier: "none", encodings: 0 }, timingMs: {} };
}

async function summary(
  { held, cache }: EncodedPicture,
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

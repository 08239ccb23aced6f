import type { Model } from "@florence/proto/model";
import { Fault, orAborted } from "@florence/service";
import type { HeldBytesAccount } from "../http/held-bytes.ts";
import type { Limits } from "../limits.ts";
import type { LoadedModels } from "../peers/agreement.ts";
import type { AnnotateEvent, ErrorJson, ImageJson, ResultJson, SummaryJson } from "./answer.ts";
import { type EncodeContext, type EncodeOutcome, encodeImage, encodeShare } from "./encode.ts";
import { type GenerateContext, generate } from "./generate.ts";
import type { ImageHandle, ImageIds } from "./image-id.ts";
import type { UrlFetch } from "./image-source.ts";
import type { AnnotateRequest, UploadRequest } from "./request.ts";

/** What answering a call takes. */
export interface AnnotateContext extends EncodeContext, Omit<GenerateContext, "encodeAgain"> {
  readonly models: LoadedModels;
  readonly ids: ImageIds;
  readonly limits: Limits;
  readonly fetchUrl: UrlFetch;
  readonly account: HeldBytesAccount;
}

/** The part of it that is the same for all calls. */
export type AnnotateParts = Omit<AnnotateContext, "call" | "account">;

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
  const { call } = context;
  const receiveMs = call.elapsedMs();
  const bytes = await imageBytes(request, context);
  const fetchMs = call.elapsedMs() - receiveMs;
  const encoded = await encode(request, bytes, context, encodeShare);
  const model = await modelOf(context); // Before the work, so that it cannot fail after it.
  const encodeAgain = bytes && (async () => (await encode(request, bytes, context, encodeShare)).image);

  const { image, times } = yield* generate(request, encoded.image, { ...context, encodeAgain });

  const timing = {
    receive: receiveMs,
    ...(request.image.kind === "url" && { fetch: fetchMs }),
    ...encoded.timingMs,
    ...times,
  };
  yield { event: "done", data: await summary({ ...encoded, image }, model, timing, context) };
}

/** Reads the events of a call to its end and puts them together as one answer. */
export async function collect(request: AnnotateRequest, events: AsyncIterable<AnnotateEvent>): Promise<AnswerJson> {
  const results = new Array<ResultJson | ErrorJson>(request.tasks.length);
  for await (const { event, data } of events) {
    if (event === "result" || event === "error") {
      const { index, ...result } = data;
      results[index] = result;
    } else if (event === "done") {
      const { id, model, image, ...rest } = data;
      return { id, model, image, results, ...rest };
    }
  }
  throw new Fault("internal", "Something went wrong inside the service.", {
    internal: "The events ended without done.",
  });
}

/** Encodes an image to be asked about later. */
export async function upload(request: UploadRequest, context: AnnotateContext): Promise<SummaryJson> {
  const receiveMs = context.call.elapsedMs();
  const encoded = await encode(request, await imageBytes(request, context), context, 1);
  const model = await modelOf(context);
  return summary(encoded, model, { receive: receiveMs, ...encoded.timingMs }, context);
}

/** The image's bytes; undefined for an image that is named by its id. */
async function imageBytes({ image }: UploadRequest, { call, account, events, limits, fetchUrl }: AnnotateContext) {
  const { requestId } = call;
  if (image.kind === "id") return undefined;
  if (image.kind === "bytes") {
    events.imageReceived({ requestId, bytes: image.bytes.length });
    return image.bytes;
  }
  const beganAt = call.elapsedMs();
  const bytes = await orAborted(fetchUrl(image.url, limits.uploadBytesMax, account, call.signal), call.signal);
  events.imageFetched({ requestId, bytes: bytes.length, ms: call.elapsedMs() - beganAt });
  return bytes;
}

/** What the decoders have loaded. */
async function modelOf({ models, call }: AnnotateContext): Promise<Model> {
  return (await orAborted(models.known(), call.signal)).decoder;
}

async function encode(
  { image, ...reading }: UploadRequest,
  bytes: Uint8Array<ArrayBuffer> | undefined,
  context: AnnotateContext,
  share: number,
): Promise<EncodeOutcome> {
  if (bytes !== undefined) return encodeImage(bytes, reading, context, share);
  if (image.kind !== "id") throw new Error("An image without an id has bytes.");
  // Which tier the decoder finds it in is not known here.
  return {
    image: await context.ids.open(image.id),
    cache: { result: "hit", tier: "none", encodings: 0 },
    warnings: [],
    timingMs: {},
  };
}

async function summary(
  { image, cache, warnings }: EncodeOutcome,
  { name, digest, precision }: Model,
  timing: Readonly<Record<string, number>>,
  { ids, call, events }: AnnotateContext,
): Promise<SummaryJson> {
  const all = Object.entries({ ...timing, total: call.elapsedMs() });
  // A hundredth of a millisecond is finer than the clock's use.
  const stagesMs = Object.fromEntries(all.map(([key, ms]) => [key, Math.round(ms * 100) / 100]));
  events.answerComplete({ requestId: call.requestId, cache: cache.result, tier: cache.tier, stagesMs });
  return {
    id: call.requestId,
    model: { name, digest, precision },
    image: await imageJson(image, ids),
    ...(warnings.length > 0 && { warnings }),
    cache,
    timing_ms: stagesMs,
  };
}

async function imageJson(image: ImageHandle, ids: ImageIds): Promise<ImageJson> {
  const { width, height, expiresAtMs } = image;
  const expires = expiresAtMs === 0 ? null : new Date(expiresAtMs).toISOString();
  return { id: await ids.seal(image), width, height, expires_at: expires };
}

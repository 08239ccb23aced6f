import { Fault } from "@florence/service";
import { bodyTooLarge, type ReadContext, readBody, readChunks } from "../http/body.ts";
import { JsonReader, parseJson } from "../http/json-reader.ts";
import { readParts } from "../http/multipart.ts";
import { parseFields } from "../http/parse-fields.ts";
import { ImageData } from "./image-data.ts";
import { bytesSource, type ImageSource, imageMissing, imageSchema, toImageSource } from "./image-source.ts";

/** A call with its image told apart from everything else, whichever form it came in. Fields are not yet checked. */
export interface CallForm {
  readonly image: ImageSource;
  readonly fields: Record<string, unknown>;
}

/**
 * Reads a call in any of its three forms: the image as the body and all else in the query, multipart, or JSON.
 * Throws `image_missing`, `image_too_large`, `image_type_unsupported`, `option_invalid`, `body_invalid`, `body_too_large` or `overloaded`.
 */
export async function readForm(request: Request, context: ReadContext): Promise<CallForm> {
  const contentType = request.headers.get("content-type") ?? "";
  const mediaType = (contentType.split(";")[0] ?? "").trim().toLowerCase();
  const query = new URL(request.url).searchParams;
  if (mediaType.startsWith("image/") || mediaType === "application/octet-stream")
    return readRaw(request, query, context);

  if (mediaType !== "multipart/form-data" && mediaType !== "application/json") {
    throw new Fault("image_type_unsupported", "Send the image as image/*, multipart/form-data or application/json.");
  }
  if (query.size > 0)
    throw new Fault("body_invalid", "Query parameters go with an image as the body. Put these into the body.");
  return mediaType === "application/json" ? readJson(request, context) : readMultipart(request, contentType, context);
}

async function readRaw(request: Request, query: URLSearchParams, context: ReadContext): Promise<CallForm> {
  const fields = queryFields(query);
  const { uploadBytesMax } = context.limits;
  const bytes = await readBody(request, uploadBytesMax, context);
  return { image: bytesSource(bytes, uploadBytesMax), fields };
}

// White space and escaped slashes: what base64 may be longer than it need be.
const base64Slack = 1.1;

async function readJson(request: Request, context: ReadContext): Promise<CallForm> {
  const { limits, account } = context;
  const { uploadBytesMax, bodyOverheadBytesMax } = limits;
  const bytesMax = Math.ceil((uploadBytesMax / 3) * 4 * base64Slack) + bodyOverheadBytesMax;
  const data = new ImageData(uploadBytesMax, account);
  const overheadTooLarge = () =>
    new Fault("body_too_large", `At most ${bodyOverheadBytesMax} bytes are accepted beside image.data.`);
  const reader = new JsonReader(bodyOverheadBytesMax, overheadTooLarge, { path: ["image", "data"], sink: data });
  for await (const chunk of readChunks(request, bytesMax, bodyTooLarge, context)) account.take(reader.write(chunk));
  const body = reader.end("body");
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new Fault("body_invalid", "body: expected an object.");
  const { image, ...fields } = body as Record<string, unknown>;
  if (image === undefined) throw imageMissing();
  return { image: toImageSource(parseFields(imageSchema, image, ["image"]), data, uploadBytesMax), fields };
}

async function readMultipart(request: Request, contentType: string, context: ReadContext): Promise<CallForm> {
  const { uploadBytesMax, bodyOverheadBytesMax } = context.limits;
  const chunks = readChunks(request, uploadBytesMax + bodyOverheadBytesMax, bodyTooLarge, context);
  let image: ImageSource | undefined;
  let fieldBytes = 0;
  const fields = named<unknown>();
  for await (const { name, isFile, bytes } of readParts(accounted(chunks, context), contentType, uploadBytesMax)) {
    const place = name.slice(0, 64);
    if (Object.hasOwn(fields, name) || (name === "image" && image !== undefined)) {
      throw new Fault("body_invalid", `${place}: given twice.`);
    }
    if (name === "image") {
      if (!isFile) throw new Fault("body_invalid", "image: expected a file.");
      image = bytesSource(bytes, uploadBytesMax);
      continue;
    }
    if (isFile) throw new Fault("body_invalid", `${place}: the field with the file is called image.`);
    fieldBytes += bytes.length;
    if (fieldBytes > bodyOverheadBytesMax) {
      throw new Fault("body_too_large", `At most ${bodyOverheadBytesMax} bytes are accepted beside the image.`);
    }
    fields[name] = parseJson(bytes, place); // An unknown name is left to the schema, which refuses it.
  }
  if (image === undefined) throw imageMissing();
  return { image, fields };
}

async function* accounted(chunks: AsyncIterable<Uint8Array>, { account }: ReadContext): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    account.take(chunk.length);
    yield chunk;
  }
}

/** Values by names out of a request, of which `__proto__` is one like any other. */
function named<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>;
}

/** `task=TASK`, any number of them, each as `task` of an entry of `tasks`; `stream`; every other name is an option. */
function queryFields(query: URLSearchParams): Record<string, unknown> {
  const tasks: unknown[] = [];
  const options = named<unknown>();
  let stream: unknown;
  for (const [name, value] of query) {
    if (name === "task") tasks.push({ task: value });
    else if (name === "stream") stream = typed(value);
    else if (Object.hasOwn(options, name))
      throw new Fault("option_invalid", `options.${name.slice(0, 64)}: given twice.`);
    else options[name] = name === "background" ? value : typed(value); // 000000 is a colour and no number.
  }
  return {
    ...(tasks.length > 0 && { tasks }),
    ...(Object.keys(options).length > 0 && { options }),
    ...(stream !== undefined && { stream }),
  };
}

/** What the text would be as a JSON literal; any other text stays text, and the schema says what it should have been. */
function typed(value: string): unknown {
  if (value === "true" || value === "") return true; // `?details` is as good as `?details=true`.
  if (value === "false") return false;
  return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}

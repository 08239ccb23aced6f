import { Fault } from "@florence/service";
import { type ReadContext, readBody } from "../http/body.ts";
import { parseFields } from "../http/parse-fields.ts";
import { bytesSource, type ImageSource, imageMissing, imageSchema, toImageSource } from "./image-source.ts";

/** A call with its image told apart from everything else, whichever form it came in. Fields are not yet checked. */
export interface CallForm {
  readonly image: ImageSource;
  readonly fields: Record<string, unknown>;
}

/**
 * Reads a call in any of its three forms: the image as the body and all else in the query, multipart, or JSON.
 * Throws `image_missing`, `image_too_large`, `image_type_unsupported`, `option_invalid`, `body_invalid` or `overloaded`.
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

async function readJson(request: Request, context: ReadContext): Promise<CallForm> {
  const { uploadBytesMax, bodyOverheadBytesMax } = context.limits;
  const base64BytesMax = Math.ceil(uploadBytesMax / 3) * 4;
  const bytes = await readBody(request, base64BytesMax + bodyOverheadBytesMax, context);
  const body = parseJson(new TextDecoder().decode(bytes), "body");
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new Fault("body_invalid", "body: expected an object.");
  const { image, ...fields } = body as Record<string, unknown>;
  if (image === undefined) throw imageMissing();
  return { image: toImageSource(parseFields(imageSchema, image, ["image"]), uploadBytesMax), fields };
}

async function readMultipart(request: Request, contentType: string, context: ReadContext): Promise<CallForm> {
  const { uploadBytesMax, bodyOverheadBytesMax } = context.limits;
  const bytes = await readBody(request, uploadBytesMax + bodyOverheadBytesMax, context);
  const form = await new Response(bytes, { headers: { "content-type": contentType } }).formData().catch((cause) => {
    throw new Fault("body_invalid", "body: this is not well-formed multipart/form-data.", { cause });
  });
  let image: ImageSource | undefined;
  const fields: Record<string, unknown> = {};
  for (const [name, value] of form) {
    if (Object.hasOwn(fields, name) || (name === "image" && image !== undefined)) {
      throw new Fault("body_invalid", `${name.slice(0, 64)}: given twice.`);
    }
    if (name === "image") {
      if (typeof value === "string") throw new Fault("body_invalid", "image: expected a file.");
      image = bytesSource(new Uint8Array(await value.arrayBuffer()), uploadBytesMax);
    } else {
      // An unknown name is left to the schema, which refuses it.
      fields[name] = typeof value === "string" ? parseJson(value, name) : value.name;
    }
  }
  if (image === undefined) throw imageMissing();
  return { image, fields };
}

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Without the parser's error as its cause: that one quotes the body, and prompts do not belong into logs.
    throw new Fault("body_invalid", `${place.slice(0, 64)}: this is not JSON.`);
  }
}

/** `task=NAME` or `task=NAME:INPUT`, any number of them; `stream`; every other name is an option. */
function queryFields(query: URLSearchParams): Record<string, unknown> {
  const tasks: unknown[] = [];
  const options: Record<string, unknown> = {};
  let stream: unknown;
  for (const [name, value] of query) {
    if (name === "task") tasks.push(taskEntry(value));
    else if (name === "stream") stream = typed(value);
    else if (Object.hasOwn(options, name))
      throw new Fault("option_invalid", `options.${name.slice(0, 64)}: given twice.`);
    else options[name] = typed(value);
  }
  return {
    ...(tasks.length > 0 && { tasks }),
    ...(Object.keys(options).length > 0 && { options }),
    ...(stream !== undefined && { stream }),
  };
}

function taskEntry(value: string): { task: string; text?: string } {
  const colon = value.indexOf(":");
  return colon < 0 ? { task: value } : { task: value.slice(0, colon), text: value.slice(colon + 1) };
}

/** What the text would be as a JSON literal; any other text stays text, and the schema says what it should have been. */
function typed(value: string): unknown {
  if (value === "true" || value === "") return true; // `?details` is as good as `?details=true`.
  if (value === "false") return false;
  return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}

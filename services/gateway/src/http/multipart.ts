import { Fault } from "@florence/service";
import {
  getMultipartBoundary,
  MaxFileSizeExceededError,
  MaxPartsExceededError,
  MultipartParser,
  type MultipartPart,
} from "@remix-run/multipart-parser";
import { Blocks } from "./blocks.ts";
import { imageTooLarge } from "./body.ts";

/** One part of a form, whole. */
export interface Part {
  readonly name: string;
  /** Sent as a file, or as an image. */
  readonly isFile: boolean;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

// A call has an image, tasks, options and stream; more is a mistake, which is better named than counted.
const partsMax = 16;
// A name, a type, and a file's name of 255 characters written twice, percent-encoded.
const headerBytesMax = 2048;
// RFC 2046. A longer one would also take longer to look for.
const boundaryCharactersMax = 70;
const blockBytes = 64 * 1024;
// The parser takes nothing after the last boundary in a piece of its own, and a line break stands there.
const tailBytes = 256;

/** Reads a form's parts as they come, each of at most `partBytesMax`. Throws `body_invalid` and `image_too_large`, and what `chunks` throws. */
export async function* readParts(
  chunks: AsyncIterable<Uint8Array>,
  contentType: string,
  partBytesMax: number,
): AsyncGenerator<Part> {
  const boundary = getMultipartBoundary(contentType) ?? "";
  if (boundary === "" || boundary.length > boundaryCharactersMax) throw malformed();
  const parser = new MultipartParser(boundary, {
    maxHeaderSize: headerBytesMax,
    maxFileSize: partBytesMax,
    maxParts: partsMax,
    // The body is bounded as a whole.
    maxTotalSize: Number.MAX_SAFE_INTEGER,
  });
  for await (const block of inBlocks(chunks)) yield* parsed(() => [...parser.write(block)], partBytesMax).map(toPart);
  parsed(() => parser.finish(), partBytesMax);
}

function toPart(part: MultipartPart): Part {
  return parsed(() => {
    const { name, isFile, mediaType = "" } = part;
    if (name === undefined) throw malformed();
    return { name, isFile: isFile || mediaType.startsWith("image/"), bytes: part.bytes as Uint8Array<ArrayBuffer> };
  }, 0);
}

/** What the parser gives; what it throws, as a Fault. */
function parsed<T>(parse: () => T, partBytesMax: number): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Fault) throw error;
    if (error instanceof MaxFileSizeExceededError) throw imageTooLarge(partBytesMax);
    if (error instanceof MaxPartsExceededError) throw new Fault("body_invalid", `body: more than ${partsMax} parts.`);
    throw malformed(error);
  }
}

/** The same bytes in pieces of a good size: the parser keeps each piece as it is, and a byte alone would take a hundred. */
async function* inBlocks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let blocks = new Blocks();
  for await (const chunk of chunks) {
    blocks.append(chunk);
    if (blocks.length < blockBytes) continue;
    const block = blocks.concatenated();
    blocks = new Blocks();
    blocks.append(block.subarray(-tailBytes));
    yield block.subarray(0, -tailBytes);
  }
  if (blocks.length > 0) yield blocks.concatenated();
}

function malformed(cause?: unknown): Fault {
  return new Fault("body_invalid", "body: this is not well-formed multipart/form-data.", { cause });
}

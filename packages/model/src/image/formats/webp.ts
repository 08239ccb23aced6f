import { ByteReader, damaged } from "../byte-reader.ts";
import { orientationOf } from "../orientation.ts";
import { profileWarnings } from "../profile.ts";
import { warning } from "../warnings.ts";
import type { Frame, Walked } from "./walked.ts";

// A still image has a dozen chunks. Past this many frames nothing more is looked for.
const chunksMax = 20_000;

const name = "WebP";
const riffHeadBytes = 12;
const chunkHeadBytes = 8;
const [flagAnimation, flagAlpha] = [0x02, 0x10];

/** One image: its bitstream with, for lossy ones, a channel of alpha beside it. */
interface Bitstream {
  readonly chunk: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly alpha: Uint8Array | undefined;
  readonly hasAlpha: boolean;
}

interface Chunk {
  readonly type: string;
  readonly at: number;
  readonly length: number;
}

function* chunksOf(reader: ByteReader, from: number, to: number): Generator<Chunk> {
  for (let at = from, count = 0; at + chunkHeadBytes <= to && count < chunksMax; count++) {
    const chunk = { type: reader.text(at, 4), at: at + chunkHeadBytes, length: reader.u32(at + 4) };
    yield chunk;
    at = chunk.at + chunk.length + (chunk.length & 1);
  }
}

/** Keeps a WebP's first image; of an animation, the bitstream of its first frame. */
export function walkWebp(bytes: Uint8Array): Walked {
  const reader = new ByteReader(bytes, name, true);
  const to = Math.min(bytes.length, 8 + reader.u32(4));
  const isExtended = to > riffHeadBytes && reader.text(riffHeadBytes, 4) === "VP8X";
  if (!isExtended) {
    const image = bitstream(reader, riffHeadBytes, to);
    return { ...image, orientation: 1, parts: fileOf(image), samples: "rgb", alpha: image.hasAlpha, warnings: [] };
  }
  const head = riffHeadBytes + chunkHeadBytes;
  const flags = reader.u8(head);
  const [width, height] = [reader.u24(head + 4) + 1, reader.u24(head + 7) + 1];
  const isAnimation = (flags & flagAnimation) !== 0;
  let [exif, xmp, profile]: (Uint8Array | undefined)[] = [];
  let first: Chunk | undefined;
  let frames = 0;
  for (const chunk of chunksOf(reader, riffHeadBytes, to)) {
    if (chunk.type === "ANMF" && isAnimation) {
      frames++;
      first ??= chunk;
    } else if (!isAnimation && /^(ALPH|VP8 |VP8L)$/.test(chunk.type)) first ??= chunk;
    else if (chunk.at + chunk.length > to) break;
    else if (chunk.type === "EXIF") exif ??= reader.slice(chunk.at, chunk.length);
    else if (chunk.type === "XMP ") xmp ??= reader.slice(chunk.at, chunk.length);
    else if (chunk.type === "ICCP") profile ??= reader.slice(chunk.at, chunk.length);
  }
  const common = { width, height, orientation: orientationOf({ exif, xmp }), samples: "rgb" } as const;
  const warnings = profileWarnings(profile);
  if (first === undefined) throw damaged(name);
  if (!isAnimation) {
    const image = bitstream(reader, first.at - chunkHeadBytes, to);
    if (image.width !== width || image.height !== height) throw damaged(name);
    return { ...common, parts: fileOf(image), alpha: image.hasAlpha, warnings };
  }
  const frame = {
    left: 2 * reader.u24(first.at),
    top: 2 * reader.u24(first.at + 3),
    width: reader.u24(first.at + 6) + 1,
    height: reader.u24(first.at + 9) + 1,
  };
  if (frame.left + frame.width > width || frame.top + frame.height > height) throw damaged(name);
  const image = bitstream(reader, first.at + 16, Math.min(to, first.at + first.length));
  if (image.width !== frame.width || image.height !== frame.height) throw damaged(name);
  if (frames > 1) warnings.push(warning("later_frames_ignored"));
  return {
    ...common,
    parts: fileOf(image),
    alpha: image.hasAlpha,
    ...(covers(frame, width, height) ? {} : { frame }),
    warnings,
  };
}

const covers = (frame: Frame, width: number, height: number) => frame.width === width && frame.height === height;

/** The image whose chunks start at `from`: its alpha, if that stands apart, and its bitstream. */
function bitstream(reader: ByteReader, from: number, to: number): Bitstream {
  let alpha: Uint8Array | undefined;
  for (const { type, at, length } of chunksOf(reader, from, to)) {
    if (at + length > to) break;
    const chunk = reader.slice(at - chunkHeadBytes, chunkHeadBytes + length);
    if (type === "ALPH") alpha ??= chunk;
    else if (type === "VP8 ") {
      if (length < 10 || reader.text(at + 3, 3) !== "\x9d\x01\x2a") break;
      const [width, height] = [reader.u16(at + 6) & 0x3fff, reader.u16(at + 8) & 0x3fff];
      if (width === 0 || height === 0) break;
      return { chunk, width, height, alpha, hasAlpha: alpha !== undefined };
    } else if (type === "VP8L") {
      if (length < 5 || reader.u8(at) !== 0x2f) break;
      const bits = reader.u32(at + 1);
      const [width, height] = [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
      return { chunk, width, height, alpha: undefined, hasAlpha: ((bits >>> 28) & 1) === 1 };
    }
  }
  throw damaged(name);
}

/** A file of one bitstream; where alpha stands apart, with the extended header that announces it. */
function fileOf({ chunk, alpha, width, height }: Bitstream): Uint8Array[] {
  const padded = (part: Uint8Array) => (part.length % 2 === 0 ? [part] : [part, new Uint8Array(1)]);
  const chunks = padded(chunk);
  if (alpha !== undefined) {
    const extended = Buffer.alloc(18);
    extended.write("VP8X", "latin1");
    extended.writeUInt32LE(10, 4);
    extended.writeUInt8(flagAlpha, 8);
    extended.writeUIntLE(width - 1, 12, 3);
    extended.writeUIntLE(height - 1, 15, 3);
    chunks.unshift(extended, ...padded(alpha));
  }
  const riff = Buffer.alloc(riffHeadBytes);
  riff.write("RIFF", "latin1");
  riff.writeUInt32LE(4 + chunks.reduce((sum, part) => sum + part.length, 0), 4);
  riff.write("WEBP", 8, "latin1");
  return [riff, ...chunks];
}

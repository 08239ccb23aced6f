import { ByteReader, damaged } from "../byte-reader.ts";
import { type Colour, onCanvas, type Rgb, rgbOfIndices } from "../pixels.ts";
import { type ImageWarning, warning } from "../warnings.ts";
import type { Frame } from "./walked.ts";

const name = "GIF";
const screenBytes = 13;
const [extension, image, trailer] = [0x21, 0x2c, 0x3b];
const graphicControl = 0xf9;
// The format's: codes have up to 12 bits.
const codeBitsMax = 12;
// Between blocks nothing belongs; some writers leave a few zeros. Blocks count too, and few come before an image.
const strayBytesMax = 65_536;

/** What stands in front of the first frame's pixels. */
export interface GifHeader {
  /** The canvas, which a frame that reaches past it enlarges. */
  readonly width: number;
  readonly height: number;
  readonly frame: Frame;
  readonly interlaced: boolean;
  /** [256, 3]. Colours past the end of the file's table are black; without any table, an index is a grey. */
  readonly colours: Uint8Array;
  /** The index that stands for "nothing here". */
  readonly transparent: number | undefined;
  /** Where the code size stands, and behind it the blocks of codes. */
  readonly data: number;
}

/** Reads a GIF up to its first frame's pixels. */
export function gifHeader(bytes: Uint8Array): GifHeader {
  const reader = new ByteReader(bytes, name, true);
  const globalBytes = tableBytes(reader.u8(10));
  let table = reader.slice(screenBytes, globalBytes);
  let transparent: number | undefined;
  let at = screenBytes + globalBytes;
  // Like Pillow, this passes over anything that begins no block.
  for (let strayBytes = 0; reader.u8(at) !== image; at++) {
    if (reader.u8(at) === trailer || strayBytes > strayBytesMax) throw damaged(name);
    strayBytes++;
    if (reader.u8(at) !== extension) continue;
    // Its first sub-block: size, flags, delay, transparent index.
    if (reader.u8(at + 1) === graphicControl && reader.u8(at + 2) >= 4 && (reader.u8(at + 3) & 1) === 1) {
      transparent = reader.u8(at + 6);
    }
    for (at += 2; reader.u8(at) > 0; ) at += 1 + reader.u8(at);
  }
  const frame = {
    left: reader.u16(at + 1),
    top: reader.u16(at + 3),
    width: reader.u16(at + 5),
    height: reader.u16(at + 7),
  };
  const flags = reader.u8(at + 9);
  const ownBytes = tableBytes(flags);
  if (ownBytes > 0) table = reader.slice(at + 10, ownBytes);
  if (frame.width === 0 || frame.height === 0) throw damaged(name);
  const colours = new Uint8Array(768);
  if (table.length > 0) colours.set(table);
  else for (let channel = 0; channel < 768; channel++) colours[channel] = channel / 3;
  return {
    width: Math.max(reader.u16(6), frame.left + frame.width),
    height: Math.max(reader.u16(8), frame.top + frame.height),
    frame,
    interlaced: (flags & 0x40) !== 0,
    colours,
    transparent,
    data: at + 10 + ownBytes,
  };
}

/** Bytes of the colour table that a screen's or image's flags announce. */
const tableBytes = (flags: number) => ((flags & 0x80) === 0 ? 0 : 3 << ((flags & 7) + 1));

/**
 * The first frame on its canvas, as Pillow puts it there: around it lies the transparent colour, or where there is
 * none, the first of the palette. Later frames are not looked at. Keeps this thread busy.
 */
export function decodeGif(
  bytes: Uint8Array,
  header: GifHeader,
  background: Colour | undefined,
): Rgb & { readonly warnings: ImageWarning[] } {
  const { width, height, frame, transparent } = header;
  const { indices, end } = unpack(bytes, header.data, frame.width * frame.height);
  const rows = header.interlaced ? deinterlaced(indices, frame) : indices;
  const covers = frame.width === width && frame.height === height;
  const canvas = covers ? rows : onCanvas(rows, frame, { width, height, channels: 1, fill: transparent ?? 0 });
  return { ...rgbOfIndices(canvas, header, background), warnings: laterFrames(bytes, end) };
}

/**
 * LZW. A code stands for a run that was written before, so the table holds where in the output each run begins and how
 * long it is. Throws unless every pixel is there.
 */
function unpack(bytes: Uint8Array, from: number, pixels: number): { indices: Uint8Array; end: number } {
  const reader = new ByteReader(bytes, name);
  const rootBits = reader.u8(from);
  if (rootBits > codeBitsMax) throw damaged(name);
  const clear = 1 << rootBits;
  const stop = clear + 1;
  const start = new Int32Array(1 << codeBitsMax);
  const length = new Int32Array(1 << codeBitsMax);
  const indices = new Uint8Array(pixels);
  let [to, next, width] = [0, clear + 2, rootBits + 1];
  // The run before, of which the next entry is the continuation by one pixel; none behind a clear code.
  let [lastStart, lastLength] = [0, 0];
  let [bits, bitCount] = [0, 0];
  let at = from + 1;
  let blockEnd = at;
  while (to < pixels) {
    while (bitCount < width) {
      if (at === blockEnd) {
        const size = reader.u8(at);
        if (size === 0 || at + 1 + size > bytes.length) throw damaged(name);
        blockEnd = ++at + size;
      }
      bits |= (bytes[at++] as number) << bitCount;
      bitCount += 8;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    bitCount -= width;
    if (code === clear) {
      [next, width, lastLength] = [clear + 2, rootBits + 1, 0];
      continue;
    }
    if (code === stop || (lastLength === 0 ? code > clear : code > next) || code >= 1 << codeBitsMax)
      throw damaged(name);
    if (lastLength > 0 && next < 1 << codeBitsMax) {
      start[next] = lastStart;
      length[next] = lastLength + 1;
      if (next === (1 << width) - 1 && width < codeBitsMax) width++;
      next++;
    }
    lastStart = to;
    if (code < clear) {
      indices[to++] = code;
      lastLength = 1;
    } else {
      lastLength = length[code] as number;
      const end = Math.min(pixels, to + lastLength);
      // One by one: a run may reach into what it writes.
      for (let source = start[code] as number; to < end; ) indices[to++] = indices[source++] as number;
    }
  }
  return { indices, end: blockEnd };
}

/** Rows come in four passes: every eighth, those in the middle between, every fourth of the rest, the odd ones. */
function deinterlaced(indices: Uint8Array, { width, height }: Frame): Uint8Array {
  const rows = new Uint8Array(indices.length);
  let from = 0;
  for (const [first, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let y = first; y < height; y += step, from += width) rows.set(indices.subarray(from, from + width), y * width);
  }
  return rows;
}

function laterFrames(bytes: Uint8Array, from: number): ImageWarning[] {
  let at = from;
  const skipBlocks = () => {
    while (at < bytes.length && bytes[at] !== 0) at += 1 + (bytes[at] as number);
  };
  skipBlocks();
  for (; at < bytes.length && bytes[at] !== trailer; at++) {
    if (bytes[at] === image) return [warning("later_frames_ignored")];
    if (bytes[at] !== extension) continue;
    at += 2;
    skipBlocks();
  }
  return [];
}

/** Image files written byte by byte, for what no encoder writes. */
import { crc32, deflateSync } from "node:zlib";

const latin1 = (text: string) => Buffer.from(text, "latin1");
const u16be = (value: number) => Buffer.from([value >> 8, value & 255]);
function u32be(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
function u32le(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** A length that lies is what `length` is for. */
export function pngChunk(type: string, data: Uint8Array, length = data.length): Buffer {
  const body = Buffer.concat([latin1(type), data]);
  return Buffer.concat([u32be(length), body, u32be(crc32(body))]);
}

export const pngSignature = latin1("\x89PNG\r\n\x1a\n");

export function pngHeader(width: number, height: number, depth = 8, colour = 2): Buffer {
  return pngChunk("IHDR", Buffer.concat([u32be(width), u32be(height), Buffer.from([depth, colour, 0, 0, 0])]));
}

/** An RGB PNG of one colour, with chunks in front of its data and behind it. */
export function png(width: number, height: number, before: Uint8Array[] = [], after: Uint8Array[] = []): Buffer {
  const rows = Buffer.alloc(height * (1 + width * 3), 0x55);
  for (let y = 0; y < height; y++) rows[y * (1 + width * 3)] = 0;
  return Buffer.concat([
    pngSignature,
    pngHeader(width, height),
    ...before,
    pngChunk("IDAT", deflateSync(rows)),
    ...after,
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

export function jpegSegment(marker: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0xff, marker]), u16be(data.length + 2), data]);
}

/** A JPEG with more segments behind its first marker. */
export function withSegments(jpeg: Uint8Array, segments: Uint8Array[]): Buffer {
  return Buffer.concat([jpeg.subarray(0, 2), ...segments, jpeg.subarray(2)]);
}

export function webpChunk(type: string, data: Uint8Array): Buffer {
  return Buffer.concat([latin1(type), u32le(data.length), data, Buffer.alloc(data.length % 2)]);
}

export function webp(chunks: Uint8Array[]): Buffer {
  const body = Buffer.concat([latin1("WEBP"), ...chunks]);
  return Buffer.concat([latin1("RIFF"), u32le(body.length), body]);
}

export function webpExtended(width: number, height: number, flags: number): Buffer {
  const data = Buffer.alloc(10);
  data.writeUInt8(flags);
  data.writeUIntLE(width - 1, 4, 3);
  data.writeUIntLE(height - 1, 7, 3);
  return webpChunk("VP8X", data);
}

/** The chunks of a WebP's bitstream, to be put into another. */
export const webpBitstream = (file: Uint8Array): Uint8Array => file.subarray(12);

export function webpFrame(left: number, top: number, width: number, height: number, bitstream: Uint8Array): Buffer {
  const head = Buffer.alloc(16);
  for (const [index, value] of [left / 2, top / 2, width - 1, height - 1].entries())
    head.writeUIntLE(value, index * 3, 3);
  return webpChunk("ANMF", Buffer.concat([head, bitstream]));
}

/** An EXIF block without its prefix, of one directory. Entries are [tag, type, count, value or offset]. */
export function exif(entries: [tag: number, type: number, count: number, value: Uint8Array][], big = true): Buffer {
  const u16 = (value: number) => (big ? u16be(value) : u16be(value).reverse());
  const u32 = (value: number) => (big ? u32be(value) : u32le(value));
  return Buffer.concat([
    latin1(big ? "MM" : "II"),
    u16(42),
    u32(8),
    u16(entries.length),
    ...entries.flatMap(([tag, type, count, value]) => [u16(tag), u16(type), u32(count), value]),
    u32(0),
  ]);
}

export function orientationExif(orientation: number, big = true): Buffer {
  const value = big ? Buffer.from([0, orientation, 0, 0]) : Buffer.from([orientation, 0, 0, 0]);
  return exif([[0x0112, 3, 1, value]], big);
}

export const exifPrefix = latin1("Exif\0\0");

/** A directory whose entries all are directories at its own place. */
export function exifOfItself(entries: number): Buffer {
  return exif(Array.from({ length: entries }, () => [0x8769, 4, 1, u32be(8)]));
}

export function xmp(orientation: number): Buffer {
  return latin1(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="${orientation}"/></x:xmpmeta>`);
}

function box(type: string, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([u32be(body.length + 8), latin1(type), body]);
}
const fullBox = (type: string, ...parts: Uint8Array[]) => box(type, Buffer.alloc(4), ...parts);

/** What a HEIC of one HEVC image consists of: its decoder's settings and its bitstream. */
export function heicTile(heic: Buffer): { settings: Buffer; bitstream: Buffer } {
  const settingsAt = heic.indexOf("hvcC") - 4;
  const dataAt = heic.indexOf("mdat") - 4;
  return {
    settings: heic.subarray(settingsAt, settingsAt + heic.readUInt32BE(settingsAt)),
    // One unit, with its length in front; behind it lies the EXIF block.
    bitstream: heic.subarray(dataAt + 8, dataAt + 12 + heic.readUInt32BE(dataAt + 8)),
  };
}

/**
 * A HEIC as phones write them: a grid of tiles, and after it a quarter turn. All tiles are the same one.
 * quarters: counter-clockwise.
 */
export function heicGrid(
  { settings, bitstream }: { settings: Buffer; bitstream: Buffer },
  tile: { width: number; height: number },
  [columns, rows]: readonly [number, number],
  quarters: number,
): Buffer {
  const count = columns * rows;
  const size = (width: number, height: number) => fullBox("ispe", u32be(width), u32be(height));
  const grid = Buffer.concat([
    Buffer.from([0, 0, rows - 1, columns - 1]),
    u16be(columns * tile.width),
    u16be(rows * tile.height),
  ]);
  const tiles = Array.from({ length: count }, (_, index) => index + 1);
  const item = (id: number, type: string) =>
    box("infe", Buffer.from([2, 0, 0, 0]), u16be(id), u16be(0), latin1(`${type}\0`));
  const properties = box(
    "ipco",
    settings,
    size(tile.width, tile.height),
    size(columns * tile.width, rows * tile.height),
    box("irot", Buffer.from([quarters])),
  );
  const associations = fullBox(
    "ipma",
    u32be(count + 1),
    ...tiles.map((id) => Buffer.concat([u16be(id), Buffer.from([2, 0x81, 2])])),
    u16be(count + 1),
    Buffer.from([2, 3, 0x84]),
  );
  const head = box("ftyp", latin1("heic\0\0\0\0mif1heic"));
  const meta = (dataAt: number) => {
    const location = (id: number, at: number, length: number) =>
      Buffer.concat([u16be(id), u16be(0), u16be(1), u32be(at), u32be(length)]);
    return fullBox(
      "meta",
      fullBox("hdlr", Buffer.alloc(4), latin1("pict"), Buffer.alloc(13)),
      fullBox("pitm", u16be(count + 1)),
      fullBox(
        "iloc",
        Buffer.from([0x44, 0]),
        u16be(count + 1),
        ...tiles.map((id) => location(id, dataAt, bitstream.length)),
        location(count + 1, dataAt + bitstream.length, grid.length),
      ),
      fullBox("iinf", u16be(count + 1), ...tiles.map((id) => item(id, "hvc1")), item(count + 1, "grid")),
      fullBox("iref", box("dimg", u16be(count + 1), u16be(count), ...tiles.map(u16be))),
      box("iprp", properties, associations),
    );
  };
  const dataAt = head.length + meta(0).length + 8;
  return Buffer.concat([head, meta(dataAt), box("mdat", bitstream, grid)]);
}

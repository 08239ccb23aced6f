/** Image files that were made to break whoever opens them, byte by byte, because no encoder writes them. */
import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";

/** One kind of hostile file, in a size that suits the purpose. */
export interface HostileImage {
  readonly kind: string;
  readonly variant: string;
  /** Of the media type; the server looks at the bytes alone. */
  readonly make: () => Buffer<ArrayBuffer> | Promise<Buffer<ArrayBuffer>>;
}

const latin1 = (text: string) => Buffer.from(text, "latin1");
const MiB = 1024 * 1024;
// What the gateway takes, less a little for headers.
const fileBytesMax = 16 * MiB - 64 * 1024;

function integer(write: "writeUInt16BE" | "writeUInt16LE" | "writeUInt32BE" | "writeUInt32LE", value: number): Buffer {
  const bytes = Buffer.alloc(write.includes("16") ? 2 : 4);
  bytes[write](value);
  return bytes;
}
const u16be = (value: number) => integer("writeUInt16BE", value);
const u16le = (value: number) => integer("writeUInt16LE", value);
const u32be = (value: number) => integer("writeUInt32BE", value);
const u32le = (value: number) => integer("writeUInt32LE", value);
const u24le = (value: number) => u32le(value).subarray(0, 3);
/** Copies of the same bytes, in one. */
const times = (count: number, bytes: Buffer) => Buffer.alloc(count * bytes.length, bytes);
const join = (...parts: readonly Uint8Array[]) => Buffer.concat(parts);

// PNG
function chunk(type: string, data: Uint8Array): Buffer {
  const body = join(latin1(type), data);
  return join(u32be(data.length), body, u32be(crc32(body)));
}
interface Png {
  readonly width: number;
  readonly height: number;
  readonly depth?: number;
  /** 0 grey, 2 RGB, 3 palette, 6 RGBA */
  readonly colour?: number;
  readonly interlaced?: boolean;
  readonly before?: Uint8Array;
  /** The deflated rows; zeros of the right length unless given. */
  readonly data?: Buffer;
}
const channels: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 6: 4 };
function png({ width, height, depth = 8, colour = 2, interlaced = false, before = Buffer.alloc(0), data }: Png) {
  const bits = depth * (channels[colour] as number);
  const pass = (w: number, h: number) => (w > 0 && h > 0 ? h * (1 + Math.ceil((w * bits) / 8)) : 0);
  const adam7 = [[0, 8, 0, 8], [4, 8, 0, 8], [0, 4, 4, 8], [2, 4, 0, 4], [0, 2, 2, 4], [1, 2, 0, 2], [0, 1, 1, 2]] as const; // biome-ignore format: a table
  const bytes = interlaced
    ? adam7.reduce((sum, [x, dx, y, dy]) => sum + pass(Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)), 0)
    : pass(width, height);
  return join(
    latin1("\x89PNG\r\n\x1a\n"),
    chunk("IHDR", join(u32be(width), u32be(height), Buffer.from([depth, colour, 0, 0, interlaced ? 1 : 0]))),
    before,
    chunk("IDAT", data ?? deflateSync(Buffer.alloc(bytes), { level: 1 })),
    chunk("IEND", Buffer.alloc(0)),
  );
}
const dot: Png = { width: 3, height: 2 };
const zeros = (bytes: number) => deflateSync(Buffer.alloc(bytes), { level: 9 });

// JPEG
const segment = (marker: number, data: Uint8Array) => join(Buffer.from([0xff, marker]), u16be(data.length + 2), data);
const within = (jpeg: Buffer, ...segments: Uint8Array[]) => join(jpeg.subarray(0, 2), ...segments, jpeg.subarray(2));
const flat = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: "#456789" }, limitInputPixels: false });
const jpeg = (side: number, options: object = {}) =>
  flat(side, side).jpeg(options).toBuffer() as Promise<Buffer<ArrayBuffer>>;

/** A progressive JPEG whose last scan comes again and again. */
async function scans(side: number, count: number) {
  const whole = await jpeg(side, { progressive: true });
  const at = whole.lastIndexOf(Buffer.from([0xff, 0xda]));
  const scan = whole.subarray(at, -2);
  const room = Math.floor((fileBytesMax - whole.length) / scan.length);
  return join(whole.subarray(0, -2), times(Math.min(count, room), scan), whole.subarray(-2));
}
/** A JPEG whose frame header promises other sides than its data has. */
async function promising(width: number, height: number) {
  const file = Buffer.from(await jpeg(16));
  const at = file.indexOf(Buffer.from([0xff, 0xc0]));
  file.writeUInt16BE(height, at + 5);
  file.writeUInt16BE(width, at + 7);
  return file;
}

// EXIF whose directory's entries all point to the directory itself.
function exifOfItself(entries: number): Buffer {
  const entry = join(u16le(0x8769), u16le(4), u32le(1), u32le(8));
  return join(latin1("II*\0"), u32le(8), u16le(entries), times(entries, entry), u32le(8));
}

// WebP
const riffChunk = (type: string, data: Uint8Array) =>
  join(latin1(type), u32le(data.length), data, Buffer.alloc(data.length % 2));
function webp(...chunks: Uint8Array[]): Buffer<ArrayBuffer> {
  const body = join(latin1("WEBP"), ...chunks);
  return join(latin1("RIFF"), u32le(body.length), body);
}
const extended = (flags: number, width: number, height: number) =>
  riffChunk("VP8X", join(Buffer.from([flags, 0, 0, 0]), u24le(width - 1), u24le(height - 1)));
const webpOf = async (side: number) => flat(side, side).webp({ lossless: true, effort: 0 }).toBuffer();
const bitstream = async (side: number) => (await webpOf(side)).subarray(12);
async function frames(count: number, side = 1) {
  const frame = riffChunk(
    "ANMF",
    join(Buffer.alloc(6), u24le(side - 1), u24le(side - 1), Buffer.alloc(4), await bitstream(side)),
  );
  const room = Math.floor(fileBytesMax / frame.length);
  return webp(extended(2, side, side), riffChunk("ANIM", Buffer.alloc(6)), times(Math.min(count, room), frame));
}

// GIF: one pixel's data, whatever the screen's size.
const pixelData = Buffer.from([2, 2, 0x44, 1, 0]);
const gifFrame = (width: number, height: number, palette = Buffer.alloc(0)) =>
  join(Buffer.from([0x2c, 0, 0, 0, 0]), u16le(width), u16le(height), Buffer.from([palette.length > 0 ? 0x87 : 0]), palette, pixelData); // biome-ignore format: one record
const gif = (width: number, height: number, ...blocks: Uint8Array[]) =>
  join(
    latin1("GIF89a"),
    u16le(width),
    u16le(height),
    Buffer.from([0x80, 0, 0]),
    Buffer.alloc(6),
    ...blocks,
    Buffer.from([0x3b]),
  );
const half = (file: Buffer) => Buffer.from(file.subarray(0, file.length >> 1));

const text = (count: number, type: "zTXt" | "iTXt", name = "Comment") => {
  const head = type === "zTXt" ? `${name}\0\0` : `${name}\0\x01\0\0\0`;
  return times(count, chunk(type, join(latin1(head), zeros(7_000_000))));
};

/** All of them: some are undecodable, some too large, and some are images like others once what is hostile has been cut away. */
export const hostileImages: readonly HostileImage[] = [
  ...[1_000, 40_000, 330_000].map((n) => ({ kind: "WebP frames", variant: `${n} of 1x1`, make: () => frames(n) })),
  { kind: "WebP frames", variant: "200 of 2048x2048", make: () => frames(200, 2048) },
  ...[500, 5_000, 20_000].map((n) => ({
    kind: "EXIF of itself",
    variant: `PNG, ${n} entries`,
    make: () => png({ ...dot, before: chunk("eXIf", exifOfItself(n)) }),
  })),
  ...[500, 5_000].map((n) => ({
    kind: "EXIF of itself",
    variant: `JPEG, ${n} entries`,
    make: async () => within(await jpeg(16), segment(0xe1, join(latin1("Exif\0\0"), exifOfItself(n)))),
  })),
  ...[5_000, 20_000].map((n) => ({
    kind: "EXIF of itself",
    variant: `WebP, ${n} entries`,
    make: async () => webp(extended(8, 1, 1), await bitstream(1), riffChunk("EXIF", exifOfItself(n))),
  })),
  ...([[500, 1_000], [500, 60_000], [7071, 500], [7071, 5_000], [7071, 60_000]] as const).map(([side, n]) => ({ kind: "JPEG scans", variant: `${n} of ${side}x${side}`, make: () => scans(side, n) })), // biome-ignore format: a table
  ...[5, 50, 300].map((n) => ({ kind: "PNG text", variant: `zTXt, ${n} of 7 MB`, make: () => png({ ...dot, before: text(n, "zTXt") }) })), // biome-ignore format: a table
  ...[5, 100].map((n) => ({ kind: "PNG text", variant: `iTXt, ${n} of 7 MB`, make: () => png({ ...dot, before: text(n, "iTXt", "XML:com.adobe.xmp") }) })), // biome-ignore format: a table
  {
    kind: "PNG text",
    variant: "iCCP of 200 MB",
    make: () => png({ ...dot, before: chunk("iCCP", join(latin1("icc\0\0"), zeros(200_000_000))) }),
  },
  {
    kind: "PNG text",
    variant: "a million tEXt",
    make: () => png({ ...dot, before: times(1_000_000, chunk("tEXt", latin1("a\0"))) }),
  },
  {
    kind: "absurd size",
    variant: "PNG 2147483647 x 1",
    make: () => png({ width: 2 ** 31 - 1, height: 1, data: zeros(1) }),
  },
  { kind: "absurd size", variant: "PNG 100000 x 100000", make: () => png({ width: 1e5, height: 1e5, data: zeros(1) }) },
  { kind: "absurd size", variant: "JPEG 65535 x 65535", make: () => promising(65535, 65535) },
  {
    kind: "absurd size",
    variant: "WebP 16777216 x 256",
    make: async () => webp(extended(0, 2 ** 24, 256), await bitstream(1)),
  },
  { kind: "absurd size", variant: "GIF 65535 x 65535", make: () => gif(65535, 65535, gifFrame(65535, 65535)) },
  { kind: "50 megapixels of few bytes", variant: "GIF", make: () => gif(7071, 7071, gifFrame(1, 1)) },
  { kind: "50 megapixels of few bytes", variant: "JPEG that ends", make: () => promising(7071, 7071) },
  { kind: "50 megapixels of few bytes", variant: "JPEG, progressive", make: () => jpeg(7071, { progressive: true }) },
  { kind: "50 megapixels of few bytes", variant: "WebP", make: async () => Buffer.from(await webpOf(7071)) },
  {
    kind: "50 megapixels of few bytes",
    variant: "PNG, 1 bit",
    make: () => png({ width: 7071, height: 7071, depth: 1, colour: 0 }),
  },
  ...[1000, 4000, 7071].map((side) => ({
    kind: "interlaced 16-bit PNG",
    variant: `RGBA ${side} x ${side}`,
    make: () => png({ width: side, height: side, depth: 16, colour: 6, interlaced: true }),
  })),
  { kind: "palettes", variant: "PNG without one", make: () => png({ width: 500, height: 500, colour: 3 }) },
  {
    kind: "palettes",
    variant: "PNG, 256 colours, 50 megapixels",
    make: () => png({ width: 7071, height: 7071, colour: 3, before: chunk("PLTE", Buffer.alloc(768, 7)) }),
  },
  {
    kind: "palettes",
    variant: "PNG, one of 65,000 colours",
    make: () => png({ width: 500, height: 500, colour: 3, before: chunk("PLTE", Buffer.alloc(195_000)) }),
  },
  {
    kind: "palettes",
    variant: "GIF, 20,000 of them",
    make: () => gif(1, 1, times(20_000, gifFrame(1, 1, Buffer.alloc(768)))),
  },
  ...[10_000, 300_000, 1_000_000].map((n) => ({
    kind: "GIF frames",
    variant: `${n}`,
    make: () => gif(1, 1, times(Math.min(n, Math.floor(fileBytesMax / 15)), gifFrame(1, 1))),
  })),
  { kind: "cut off", variant: "JPEG", make: async () => half(await jpeg(2000)) },
  { kind: "cut off", variant: "PNG", make: () => half(png({ width: 2000, height: 2000 })) },
  { kind: "cut off", variant: "WebP", make: async () => half(await webpOf(2000)) },
  { kind: "cut off", variant: "GIF", make: async () => half(await flat(2000, 2000).gif().toBuffer()) },
];

import { ModelError } from "../../errors.ts";
import { ByteReader, damaged } from "../byte-reader.ts";
import { orientationOf } from "../orientation.ts";
import { profileWarnings } from "../profile.ts";
import { warning } from "../warnings.ts";
import type { Samples, Walked } from "./walked.ts";

// Readers take a directory of 65,535 entries; writers make about twenty.
const entriesMax = 65_535;
// Samples of one pixel whose depths are looked at: more than any format of pixels that is read.
const samplesMax = 8;
// As many scans as a JPEG file may have, beside one in each strip or tile.
const scansMax = 100;

const name = "TIFF";
const tags = {
  width: 256,
  height: 257,
  bits: 258,
  compression: 259,
  photometric: 262,
  stripOffsets: 273,
  orientation: 274,
  samplesPerPixel: 277,
  planar: 284,
  tileOffsets: 324,
  extraSamples: 338,
  sampleFormat: 339,
  xmp: 700,
  profile: 34_675,
  dngVersion: 50_706,
} as const;
// What libtiff needs to make pixels: sizes, layout, compression with its tables, the palette, the colours' model.
const keptTags = new Set([
  256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339, 347,
  529, 530, 531, 532,
]);
const [photometricWhite, photometricBlack, photometricRgb, photometricPalette, photometricInks] = [0, 1, 2, 3, 5];
const [photometricYcc, photometricLab] = [6, 8];
const formatUnsigned = 1;
const compressionJpeg = 7;
// None, the fax codes, LZW, JPEG, Deflate under both its numbers, PackBits.
const readCompressions = new Set([1, 2, 3, 4, 5, compressionJpeg, 8, 32_773, 32_946]);
const planesApart = 2;
const [alphaPremultiplied, alphaStraight, alphaOfCorel] = [1, 2, 999];
const bytesOfType: Readonly<Record<number, number>> = { 1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 16: 8 };

/** One directory of a TIFF, in the classic form or that of BigTIFF. */
class Directory {
  readonly #reader: ByteReader;
  readonly #big: boolean;
  readonly #entries = new Map<number, number>();
  readonly next: number;

  constructor(reader: ByteReader, big: boolean) {
    this.#reader = reader;
    this.#big = big;
    const at = this.#word(big ? 8 : 4);
    const count = big ? reader.u64(at) : reader.u16(at);
    if (count === 0 || count > entriesMax) throw damaged(name);
    const first = at + (big ? 8 : 2);
    for (let index = 0; index < count; index++) {
      const entry = first + index * this.entryBytes;
      const tag = reader.u16(entry);
      if (!this.#entries.has(tag)) this.#entries.set(tag, entry);
    }
    const end = first + count * this.entryBytes;
    this.next = end + (big ? 8 : 4) <= reader.bytes.length ? this.#word(end) : 0;
  }

  get entryBytes(): number {
    return this.#big ? 20 : 12;
  }

  #word(at: number): number {
    return this.#big ? this.#reader.u64(at) : this.#reader.u32(at);
  }

  has(tag: number): boolean {
    return this.#entries.has(tag);
  }

  count(tag: number): number {
    const entry = this.#entries.get(tag);
    return entry === undefined ? 0 : this.#word(entry + 4);
  }

  /** A tag's bytes, wherever they lie; undefined where there is no such tag or they lie outside the file. */
  data(tag: number): Uint8Array | undefined {
    const entry = this.#entries.get(tag);
    if (entry === undefined) return undefined;
    const length = this.count(tag) * (bytesOfType[this.#reader.u16(entry + 2)] ?? Number.NaN);
    const inline = entry + (this.#big ? 12 : 8);
    const at = length <= (this.#big ? 8 : 4) ? inline : this.#word(inline);
    return at + length <= this.#reader.bytes.length ? this.#reader.slice(at, length) : undefined;
  }

  /** The first few whole numbers of a tag. */
  numbers(tag: number): number[] {
    const entry = this.#entries.get(tag);
    const data = this.data(tag);
    if (entry === undefined || data === undefined) return [];
    const width = bytesOfType[this.#reader.u16(entry + 2)] as number;
    const values = new ByteReader(data, name, this.#reader.littleEndian);
    return Array.from({ length: Math.min(samplesMax, this.count(tag)) }, (_, index) => {
      const at = index * width;
      return width === 1 ? values.u8(at) : width === 2 ? values.u16(at) : width === 4 ? values.u32(at) : values.u64(at);
    });
  }

  number(tag: number, otherwise: number): number {
    return this.numbers(tag)[0] ?? otherwise;
  }

  entry(tag: number): Uint8Array {
    return this.#reader.slice(this.#entries.get(tag) as number, this.entryBytes);
  }
}

const unread = (what: string, wayOut: string) =>
  new ModelError("image_type_unsupported", `This is a TIFF image ${what}: ${wayOut}.`);

/**
 * Keeps a TIFF's first page: the file as it is with a new directory at its end, which holds only what makes that
 * page's pixels and leads to no other.
 */
export function walkTiff(bytes: Uint8Array): Walked {
  const littleEndian = bytes[0] === 0x49;
  const reader = new ByteReader(bytes, name, littleEndian);
  const big = reader.u16(2) === 43;
  const directory = new Directory(reader, big);
  if (directory.has(tags.dngVersion)) {
    throw new ModelError("image_type_unsupported", "This is a camera's raw image (DNG): develop it and send the JPEG.");
  }
  const [width, height] = [directory.number(tags.width, 0), directory.number(tags.height, 0)];
  if (width === 0 || height === 0) throw damaged(name);
  checkCompression(directory, bytes);
  const { samples, alpha } = layoutOf(directory);
  const value = directory.number(tags.orientation, 0);
  // As EXIF's, the tag counts before XMP.
  const own = Uint8Array.from([0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0]);
  const exif = directory.has(tags.orientation) ? own : undefined;
  const warnings = samples.startsWith("cmyk")
    ? [warning("cmyk_converted")]
    : profileWarnings(directory.data(tags.profile));
  if (directory.next !== 0) warnings.push(warning("later_frames_ignored"));
  return {
    width,
    height,
    orientation: orientationOf({ exif, xmp: directory.data(tags.xmp) }),
    parts: withDirectory(bytes, directory, { big, littleEndian }),
    samples,
    alpha,
    warnings,
  };
}

/** Which of the many forms of pixels these are; refuses those that no reader here knows. */
function layoutOf(directory: Directory): { samples: Samples; alpha: boolean } {
  const depths = directory.numbers(tags.bits);
  const bits = depths[0] ?? 1;
  const perPixel = directory.number(tags.samplesPerPixel, 1);
  const format = directory.number(tags.sampleFormat, formatUnsigned);
  const photometric = directory.number(tags.photometric, -1);
  const extra = directory.numbers(tags.extraSamples)[0];
  const kind = format === formatUnsigned ? "unsigned" : "signed or floating-point";
  const odd = unread(`whose pixels are ${perPixel} x ${bits} bits, ${kind}`, "save it as 8-bit RGB or grey");
  if (depths.some((depth) => depth !== bits)) throw odd;
  if (photometric === photometricLab) throw unread("in Lab colours", "save it in RGB");
  const colours =
    photometric === photometricInks ? 4 : photometric === photometricRgb || photometric === photometricYcc ? 3 : 1;
  if (perPixel < Math.min(colours, 3) || perPixel > colours + 1) throw odd;
  const alpha =
    perPixel === colours + 1 &&
    photometric !== photometricInks &&
    (extra === undefined || extra === alphaPremultiplied || extra === alphaStraight || extra === alphaOfCorel);
  if (photometric === photometricWhite || photometric === photometricBlack) {
    if (format === formatUnsigned && bits <= 8) return { samples: "rgb", alpha };
    if (perPixel > 1) throw odd;
    if (format === formatUnsigned && bits === 16) return { samples: "grey16", alpha: false };
    if (bits === 32) return { samples: "grey-clipped", alpha: false };
    throw odd;
  }
  if (format !== formatUnsigned) throw odd;
  if (photometric === photometricPalette && bits <= 8) return { samples: "rgb", alpha };
  if (photometric === photometricInks && bits === 8) return { samples: "cmyk", alpha: false };
  if (photometric === photometricInks && bits === 16) return { samples: "cmyk16", alpha: false };
  if (photometric === photometricRgb && (bits === 8 || bits === 16)) return { samples: "rgb", alpha };
  if (photometric === photometricYcc && bits === 8) {
    // Without JPEG, readers do not agree on where the colours' samples lie.
    if (directory.number(tags.compression, 1) !== compressionJpeg) throw unread("in YCbCr colours", "save it in RGB");
    return { samples: "rgb", alpha: false };
  }
  throw odd;
}

/** JPEG within TIFF has the same bound on scans as alone; each strip or tile is a JPEG of its own. */
function checkCompression(directory: Directory, bytes: Uint8Array): void {
  const compression = directory.number(tags.compression, 1);
  if (!readCompressions.has(compression)) {
    throw unread(`in a compression that few programs read (number ${compression})`, "save it with LZW");
  }
  if (directory.number(tags.planar, 1) === planesApart && directory.has(tags.tileOffsets)) {
    throw unread("in tiles of one channel each", "save it in strips");
  }
  if (compression !== compressionJpeg) return;
  const most = scansMax + Math.max(directory.count(tags.stripOffsets), directory.count(tags.tileOffsets));
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const marker = Buffer.from([0xff, 0xda]);
  let scans = 0;
  for (let at = file.indexOf(marker); at >= 0 && scans <= most; at = file.indexOf(marker, at + 2)) scans++;
  if (scans > most) throw unread(`with more than ${most} JPEG scans`, "save it anew");
}

function withDirectory(
  bytes: Uint8Array,
  directory: Directory,
  { big, littleEndian }: { big: boolean; littleEndian: boolean },
): Uint8Array[] {
  const kept = [...keptTags].filter((tag) => directory.has(tag)).map((tag) => directory.entry(tag));
  const offsetAt = big ? 8 : 4;
  const head = new Uint8Array(bytes.subarray(0, 2 * offsetAt));
  const padding = new Uint8Array(bytes.length % 2);
  const counted = new Uint8Array(big ? 8 : 2);
  const end = new Uint8Array(big ? 8 : 4);
  const at = bytes.length + padding.length;
  const write = (target: Uint8Array, position: number, value: number, size: number) => {
    const view = new DataView(target.buffer, target.byteOffset);
    if (size === 8) view.setBigUint64(position, BigInt(value), littleEndian);
    else if (size === 4) view.setUint32(position, value, littleEndian);
    else view.setUint16(position, value, littleEndian);
  };
  write(head, offsetAt, at, offsetAt);
  write(counted, 0, kept.length, counted.length);
  return [head, bytes.subarray(head.length), padding, counted, ...kept, end];
}

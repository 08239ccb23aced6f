import { ModelError } from "../../errors.ts";
import { ByteReader, damaged } from "../byte-reader.ts";

const name = "BMP";
const fileHeaderBytes = 14;
const [raw, rle8, rle4, bitFields, embeddedJpeg, embeddedPng] = [0, 1, 2, 3, 4, 5];

/** What a BMP's headers say. */
export interface BmpHeader {
  readonly width: number;
  readonly height: number;
  readonly bits: number;
  readonly compression: number;
  readonly topDown: boolean;
  /** Where the rows begin. */
  readonly data: number;
  /** [256, 3]; for up to 8 bits */
  readonly palette: Uint8Array;
  /** Red, green, blue and alpha, for 16 and 32 bits. */
  readonly masks: readonly [number, number, number, number];
}

const unread = (what: string) =>
  new ModelError("image_type_unsupported", `This is a BMP image ${what}: save it as PNG.`);

/** The layouts of bit fields that exist in the wild; others are refused, as Pillow does. */
const layouts: readonly (readonly [bits: number, red: number, green: number, blue: number, alpha: number])[] = [
  [32, 0xff0000, 0xff00, 0xff, 0],
  [32, 0xff000000, 0xff0000, 0xff00, 0],
  [32, 0xff000000, 0xff00, 0xff, 0],
  [32, 0xff000000, 0xff0000, 0xff00, 0xff],
  [32, 0xff, 0xff00, 0xff0000, 0xff000000],
  [32, 0xff0000, 0xff00, 0xff, 0xff000000],
  [32, 0xff000000, 0xff00, 0xff, 0xff0000],
  [24, 0xff0000, 0xff00, 0xff, 0],
  [16, 0xf800, 0x7e0, 0x1f, 0],
  [16, 0x7c00, 0x3e0, 0x1f, 0],
];
const usualMasks = (bits: number) =>
  bits === 16 ? ([0x7c00, 0x3e0, 0x1f, 0] as const) : ([0xff0000, 0xff00, 0xff, 0] as const);

export function bmpHeader(bytes: Uint8Array): BmpHeader {
  const reader = new ByteReader(bytes, name, true);
  const headerBytes = reader.u32(fileHeaderBytes);
  const at = fileHeaderBytes + 4;
  const isOs2 = headerBytes === 12;
  const [width, signedHeight] = isOs2 ? [reader.u16(at), reader.u16(at + 2)] : [reader.i32(at), reader.i32(at + 4)];
  const bits = reader.u16(isOs2 ? at + 6 : at + 10);
  const compression = isOs2 ? raw : reader.u32(at + 12);
  const height = Math.abs(signedHeight);
  if (width <= 0 || height === 0) throw damaged(name);
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw unread(`of ${bits} bits a pixel`);
  if (compression === embeddedJpeg || compression === embeddedPng) throw unread("that holds a JPEG or PNG");
  const fits =
    compression === raw ||
    (compression === rle8 && bits === 8) ||
    (compression === rle4 && bits === 4) ||
    (compression === bitFields && bits >= 16);
  if (!fits) throw unread(`of compression ${compression}`);
  let end = fileHeaderBytes + headerBytes;
  let masks: BmpHeader["masks"] = usualMasks(bits);
  if (compression === bitFields) {
    masks = masksOf(reader, headerBytes, bits);
    if (headerBytes === 40) end += 12;
  }
  const colours = (isOs2 ? 0 : reader.u32(at + 28)) || 1 << bits;
  const entryBytes = isOs2 ? 3 : 4;
  const palette = new Uint8Array(768);
  if (bits <= 8) {
    if (colours > 65_536) throw damaged(name);
    for (let index = 0; index < Math.min(colours, 256); index++) {
      for (let channel = 0; channel < 3; channel++) {
        palette[index * 3 + channel] = reader.u8(end + index * entryBytes + 2 - channel);
      }
    }
  }
  const stated = reader.u32(10);
  const afterPalette = end + (bits <= 8 ? colours * entryBytes : 0);
  // Some writers leave the palette out of the offset.
  const data = stated === 0 || (bits <= 8 && stated === fileHeaderBytes + headerBytes) ? afterPalette : stated;
  return { width, height, bits, compression, topDown: signedHeight < 0, data, palette, masks };
}

function masksOf(reader: ByteReader, headerBytes: number, bits: number): BmpHeader["masks"] {
  const mask = (index: number) => reader.u32(fileHeaderBytes + 40 + index * 4);
  const alpha = headerBytes >= 56 ? mask(3) : 0;
  const [red, green, blue] = [mask(0), mask(1), mask(2)];
  // All zero stands for the usual order with alpha.
  if (bits === 32 && red === 0 && green === 0 && blue === 0) return [0xff0000, 0xff00, 0xff, 0xff000000];
  const known = layouts.some(
    (row) =>
      row[0] === bits && row[1] === red && row[2] === green && row[3] === blue && (bits !== 32 || row[4] === alpha),
  );
  if (!known) throw unread("with an unusual order of colours");
  return [red, green, blue, bits === 32 ? alpha : 0];
}

/** [height, width, channels], rows from the top; 4 channels where the file has alpha, else 3. */
export function decodeBmp(bytes: Uint8Array, header: BmpHeader): { data: Uint8Array; channels: 3 | 4 } {
  const { width, height, bits, compression, topDown, palette } = header;
  const row = (y: number) => (topDown ? y : height - 1 - y);
  if (bits <= 8) {
    const indices =
      compression === raw ? unpackIndices(bytes, header) : runLengths(bytes, header, compression === rle4);
    const data = new Uint8Array(width * height * 3);
    for (let y = 0; y < height; y++) {
      let to = row(y) * width * 3;
      for (let from = y * width; from < (y + 1) * width; from++) {
        const colour = (indices[from] as number) * 3;
        data[to++] = palette[colour] as number;
        data[to++] = palette[colour + 1] as number;
        data[to++] = palette[colour + 2] as number;
      }
    }
    return { data, channels: 3 };
  }
  const rows = rowsOf(bytes, header);
  const channels = header.masks[3] === 0 ? 3 : 4;
  const data = new Uint8Array(width * height * channels);
  const stride = strideOf(width, bits);
  const step = bits / 8;
  if (step === 2) {
    const [red, green, blue] = [fieldOf(header.masks[0]), fieldOf(header.masks[1]), fieldOf(header.masks[2])];
    for (let y = 0; y < height; y++) {
      let to = row(y) * width * 3;
      for (let x = 0, from = y * stride; x < width; x++, from += 2) {
        const pixel = (rows[from] as number) | ((rows[from + 1] as number) << 8);
        for (const { shift, most } of [red, green, blue]) data[to++] = (((pixel >> shift) & most) * 255) / most;
      }
    }
    return { data, channels: 3 };
  }
  // Whole bytes: where each channel's lies within a pixel.
  const places = header.masks.slice(0, channels).map((mask) => (31 - Math.clz32(mask)) >> 3);
  for (let y = 0; y < height; y++) {
    let to = row(y) * width * channels;
    for (let x = 0, from = y * stride; x < width; x++, from += step) {
      for (let channel = 0; channel < channels; channel++)
        data[to++] = rows[from + (places[channel] as number)] as number;
    }
  }
  return { data, channels };
}

/** Rows are padded to four bytes. */
const strideOf = (width: number, bits: number) => 4 * Math.ceil((width * bits) / 32);

const fieldOf = (mask: number) => {
  const shift = 31 - Math.clz32(mask & -mask);
  return { shift, most: mask >>> shift };
};

/** The file's bytes from its first row on. Only the last row's padding may be missing. */
function rowsOf(bytes: Uint8Array, { width, height, bits, data }: BmpHeader): Uint8Array {
  const stride = strideOf(width, bits);
  const needed = (height - 1) * stride + Math.ceil((width * bits) / 8);
  if (data + needed > bytes.length) throw damaged(name);
  return bytes.subarray(data);
}

function unpackIndices(bytes: Uint8Array, header: BmpHeader): Uint8Array {
  const { width, height, bits } = header;
  const rows = rowsOf(bytes, header);
  const stride = strideOf(width, bits);
  const indices = new Uint8Array(width * height);
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const byte = rows[y * stride + Math.floor(x / perByte)] as number;
      indices[to++] = (byte >> (8 - bits * ((x % perByte) + 1))) & mask;
    }
  }
  return indices;
}

/** Microsoft's run lengths, as Pillow reads them: what is skipped has colour 0, and what is missing refuses the file. */
function runLengths(bytes: Uint8Array, { width, height, data }: BmpHeader, isRle4: boolean): Uint8Array {
  const indices = new Uint8Array(width * height);
  const byteAt = (position: number) => bytes[position] ?? 0;
  let [to, x, at] = [0, 0, data];
  while (to < indices.length && at + 1 < bytes.length) {
    const [count, value] = [byteAt(at), byteAt(at + 1)];
    at += 2;
    if (count > 0) {
      const run = Math.min(x + count > width ? Math.max(0, width - x) : count, indices.length - to);
      for (let index = 0; index < run; index++) {
        indices[to++] = isRle4 ? (index % 2 === 0 ? value >> 4 : value & 15) : value;
      }
      x += run;
    } else if (value === 0) {
      to = Math.ceil(to / width) * width;
      x = 0;
    } else if (value === 1) {
      break;
    } else if (value === 2) {
      to += Math.min(indices.length - to, byteAt(at) + byteAt(at + 1) * width);
      at += 2;
      x = to % width;
    } else {
      const run = Math.min(indices.length - to, value);
      const length = isRle4 ? Math.ceil(run / 2) : run;
      if (at + length > bytes.length) break;
      for (let index = 0; index < run; index++) {
        const byte = byteAt(at + (isRle4 ? index >> 1 : index));
        indices[to++] = isRle4 ? (index % 2 === 0 ? byte >> 4 : byte & 15) : byte;
      }
      at += length;
      x += value;
      // Runs of single pixels end at an even position of the file.
      at += at % 2;
    }
  }
  if (to < indices.length) throw damaged(name);
  return indices;
}

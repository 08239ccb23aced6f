import { ModelError } from "../errors.ts";

/** Whatever a walk meets that cannot be: format is the name in the message, as "PNG". */
export function damaged(format: string, cause?: unknown): ModelError {
  return new ModelError("image_undecodable", `The ${format} image is damaged or cut off.`, { cause });
}

/** Reads numbers at positions of a file. Throws ModelError image_undecodable past its end, and nothing else. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly format: string;
  readonly littleEndian: boolean;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, format: string, littleEndian = false) {
    this.bytes = bytes;
    this.format = format;
    this.littleEndian = littleEndian;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #within(at: number, length: number): number {
    if (!(at >= 0 && at + length <= this.bytes.length)) throw damaged(this.format);
    return at;
  }

  u8(at: number): number {
    return this.#view.getUint8(this.#within(at, 1));
  }

  u16(at: number): number {
    return this.#view.getUint16(this.#within(at, 2), this.littleEndian);
  }

  u24(at: number): number {
    const [near, far] = [this.u8(at), this.u8(at + 2)];
    return this.littleEndian ? near | (this.u16(at + 1) << 8) : (this.u16(at) << 8) | far;
  }

  u32(at: number): number {
    return this.#view.getUint32(this.#within(at, 4), this.littleEndian);
  }

  i32(at: number): number {
    return this.u32(at) | 0;
  }

  /** Exact up to 2^53, which is more than any file has bytes. */
  u64(at: number): number {
    const [first, second] = [this.u32(at), this.u32(at + 4)];
    return this.littleEndian ? second * 2 ** 32 + first : first * 2 ** 32 + second;
  }

  /** A view, not a copy. */
  slice(at: number, length: number): Uint8Array {
    this.#within(at, length);
    return this.bytes.subarray(at, at + length);
  }

  /** Bytes as Latin-1 characters. */
  text(at: number, length: number): string {
    return String.fromCharCode(...this.slice(at, length));
  }
}

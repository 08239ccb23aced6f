import { closeSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import { ModelError } from "../errors.ts";
import { bytesPerElement, type StoredTensor } from "./safetensors.ts";

// Tensors are converted piece by piece: a 210 MB embedding table never stands in memory twice.
const pieceElements = 4 * 1024 * 1024;

/** Reads a stored tensor as float32 pieces in order; each piece is valid until the next is asked for. */
export function* readFloat32Pieces(tensor: StoredTensor): Generator<Float32Array<ArrayBuffer>> {
  const width = bytesPerElement[tensor.dtype];
  const total = tensor.length / width;
  const fd = openSync(tensor.file, "r");
  try {
    const raw = new Uint8Array(Math.min(total, pieceElements) * width);
    for (let done = 0; done < total; done += pieceElements) {
      const count = Math.min(pieceElements, total - done);
      const got = readSync(fd, raw, 0, count * width, tensor.offset + done * width);
      if (got !== count * width) {
        throw new ModelError(
          "checkpoint_truncated",
          `${basename(tensor.file)} ended while tensor ${tensor.name} was read.`,
        );
      }
      yield toFloat32(raw.subarray(0, count * width), tensor.dtype);
    }
  } finally {
    closeSync(fd);
  }
}

/** Reads a whole stored tensor as float32, row-major. */
export function readFloat32(tensor: StoredTensor): Float32Array<ArrayBuffer> {
  const out = new Float32Array(tensor.length / bytesPerElement[tensor.dtype]);
  let at = 0;
  for (const piece of readFloat32Pieces(tensor)) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

function toFloat32(bytes: Uint8Array<ArrayBuffer>, dtype: StoredTensor["dtype"]): Float32Array<ArrayBuffer> {
  if (dtype === "F32") return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const half = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const out = new Float32Array(half.length);
  const bits = new Uint32Array(out.buffer);
  if (dtype === "BF16") {
    for (let i = 0; i < half.length; i++) bits[i] = (half[i] as number) << 16; // bfloat16 is float32's upper half
    return out;
  }
  const table = halfTable();
  for (let i = 0; i < half.length; i++) bits[i] = table[half[i] as number] as number;
  return out;
}

let halfBits: Uint32Array | undefined;

/** float32 bits of every float16 value: one look-up an element. */
function halfTable(): Uint32Array {
  if (halfBits) return halfBits;
  const floats = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    if (exponent === 31) floats[h] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else if (exponent === 0) floats[h] = sign * fraction * 2 ** -24;
    else floats[h] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  halfBits = new Uint32Array(floats.buffer);
  return halfBits;
}

import { closeSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import { ModelError } from "../errors.ts";
import { bytesPerElement, isPlain, type LowRank, type StoredTensor, spanBytes } from "./stored-tensor.ts";

// Tensors are converted piece by piece: a 210 MB embedding table never stands in memory twice.
const pieceElements = 4 * 1024 * 1024;

/** Reads a tensor as float32 pieces, row-major, in order; each piece is valid until the next is asked for. */
export function* readFloat32Pieces(tensor: StoredTensor): Generator<Float32Array<ArrayBuffer>> {
  if (isPlain(tensor)) yield* storedPieces(tensor, tensor.length);
  else yield readFloat32(tensor);
}

/** Reads a whole tensor as float32, row-major, with what adapters add to it. */
export function readFloat32(tensor: StoredTensor): Float32Array<ArrayBuffer> {
  const values = tensor.strides ? gathered(tensor, tensor.strides) : joined(tensor, tensor.length);
  for (const part of tensor.added ?? []) addProduct(values, part);
  return values;
}

/** Whether two tensors hold the same numbers. The first difference ends the reading. */
export function sameNumbers(a: StoredTensor, b: StoredTensor): boolean {
  if (a.shape.join() !== b.shape.join()) return false;
  const [left, right] = [readFloat32Pieces(a), readFloat32Pieces(b)];
  for (const piece of left) {
    const other = right.next().value;
    if (!other || Buffer.compare(asBytes(piece), asBytes(other)) !== 0) return false;
  }
  return true;
}

const asBytes = (piece: Float32Array<ArrayBuffer>) => new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);

/** The numbers of `length` bytes from a tensor's offset on. */
function* storedPieces(tensor: StoredTensor, length: number): Generator<Float32Array<ArrayBuffer>> {
  const width = bytesPerElement[tensor.dtype];
  const total = length / width;
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

function joined(tensor: StoredTensor, length: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(length / bytesPerElement[tensor.dtype]);
  let at = 0;
  for (const piece of storedPieces(tensor, length)) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** A tensor that lies in another order, such as a transposed one, brought into rows. */
function gathered(tensor: StoredTensor, strides: readonly number[]): Float32Array<ArrayBuffer> {
  const out = new Float32Array(tensor.length / bytesPerElement[tensor.dtype]);
  if (out.length === 0) return out;
  const { shape } = tensor;
  const from = joined(tensor, spanBytes(tensor));
  const index = shape.map(() => 0);
  let place = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = from[place] as number;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if (index[axis] !== shape[axis]) break;
      place -= (shape[axis] as number) * (strides[axis] as number);
      index[axis] = 0;
    }
  }
  return out;
}

/** Adds scale * b @ a to a weight whose rows are b's. b: [rows, rank, …], a: [rank, …] */
function addProduct(values: Float32Array, { a, b, scale }: LowRank): void {
  const rows = b.shape[0] as number;
  const rank = a.shape[0] as number;
  const columns = values.length / rows;
  const left = readFloat32(b);
  const right = readFloat32(a);
  const sum = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    sum.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = left[row * rank + k] as number;
      for (let c = 0; c < columns; c++) sum[c] = (sum[c] as number) + factor * (right[k * columns + c] as number);
    }
    for (let c = 0; c < columns; c++)
      values[row * columns + c] = (values[row * columns + c] as number) + scale * (sum[c] as number);
  }
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

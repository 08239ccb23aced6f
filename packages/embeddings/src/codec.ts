/// <reference lib="esnext.float16" />
import { crc32 } from "node:zlib";
import { type Embedding, isWhole } from "./embedding.ts";
import type { EmbeddingDtype } from "./key.ts";

// The stored value, little-endian:
//    0  magic "FEMB"
//    4  version, dtype (0 f32, 1 f16), two zero bytes
//    8  image tokens, hidden size            uint32 each
//   16  payload length in bytes              uint32
//   20  crc32 of bytes 0..19 and the payload uint32
//   24  the tensor, row-major
// Typed arrays are written as the machine has them: every platform of Node is little-endian.
const magic = 0x424d4546; // "FEMB" read as a little-endian uint32.
const version = 1;
const crcOffset = 20;
const dtypes: readonly EmbeddingDtype[] = ["f32", "f16"];
const bytesPerNumber = { f32: 4, f16: 2 } as const;

/** Length of the header in bytes; a multiple of 8, so that the tensor is aligned where the value is. */
export const headerBytes = 24;

/** Why bytes are not a stored embedding. */
export type Flaw = "truncated" | "magic" | "version" | "dtype" | "dims" | "length" | "checksum";

/** What decoding found. */
export type Decoded = { readonly embedding: Embedding; readonly dtype: EmbeddingDtype } | { readonly flaw: Flaw };

/**
 * Writes an embedding into new bytes, which share nothing with it. Throws a RangeError when the data does not fit the
 * dims, or when a number is not finite as f16 (beyond 65,504), since that would quietly change answers.
 */
export function encode(embedding: Embedding, dtype: EmbeddingDtype = "f32"): Uint8Array<ArrayBuffer> {
  if (!isWhole(embedding)) throw new RangeError(`${embedding.data.length} numbers are no [${embedding.dims}] tensor.`);
  const { dims, data } = embedding;
  const payloadBytes = data.length * bytesPerNumber[dtype];
  const value = new Uint8Array(headerBytes + payloadBytes);
  const view = new DataView(value.buffer);
  view.setUint32(0, magic, true);
  view.setUint8(4, version);
  view.setUint8(5, dtypes.indexOf(dtype));
  view.setUint32(8, dims[0], true);
  view.setUint32(12, dims[1], true);
  view.setUint32(16, payloadBytes, true);
  if (dtype === "f32") new Float32Array(value.buffer, headerBytes).set(data);
  else writeHalves(data, new Float16Array(value.buffer, headerBytes));
  view.setUint32(crcOffset, checksum(value), true);
  return value;
}

/**
 * Reads a stored value at any alignment. The embedding is a copy: it does not keep the value alive. Never throws:
 * whatever does not verify comes back as a flaw, to be counted and treated as a miss.
 */
export function decode(value: Uint8Array): Decoded {
  if (value.byteLength < headerBytes) return { flaw: "truncated" };
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (view.getUint32(0, true) !== magic) return { flaw: "magic" };
  if (view.getUint8(4) !== version) return { flaw: "version" };
  const dtype = dtypes[view.getUint8(5)];
  if (dtype === undefined) return { flaw: "dtype" };
  const rows = view.getUint32(8, true);
  const width = view.getUint32(12, true);
  if (rows === 0 || width === 0) return { flaw: "dims" };
  const payloadBytes = view.getUint32(16, true);
  if (payloadBytes > value.byteLength - headerBytes) return { flaw: "truncated" };
  if (payloadBytes !== value.byteLength - headerBytes) return { flaw: "length" };
  if (payloadBytes !== rows * width * bytesPerNumber[dtype]) return { flaw: "dims" };
  if (view.getUint32(crcOffset, true) !== checksum(value)) return { flaw: "checksum" };
  const payload = new Uint8Array(payloadBytes);
  payload.set(value.subarray(headerBytes));
  const data = dtype === "f32" ? new Float32Array(payload.buffer) : Float32Array.from(new Float16Array(payload.buffer));
  return { embedding: { dims: [rows, width], data }, dtype };
}

function checksum(value: Uint8Array): number {
  return crc32(value.subarray(headerBytes), crc32(value.subarray(0, crcOffset)));
}

function writeHalves(from: Float32Array, to: Float16Array): void {
  to.set(from);
  if (!to.every(Number.isFinite)) throw new RangeError("A number of this embedding is not finite as f16.");
}

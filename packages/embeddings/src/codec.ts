/// <reference lib="esnext.float16" />
import { allFinite, type Embedding, isWhole } from "./embedding.ts";
import { type EmbeddingDtype, embeddingKeyDtype } from "./key.ts";
import { type Seal, sealBytes } from "./seal.ts";

// The stored value, little-endian:
//    0  magic "FEMB"
//    4  version, dtype (0 f32, 1 f16), two zero bytes
//    8  image tokens, hidden size            uint32 each
//   16  payload length in bytes              uint32
//   20  four zero bytes
//   24  seal of the key, bytes 0..23 and the payload
//   56  the tensor, row-major
// Typed arrays are written as the machine has them: every platform of Node is little-endian.
const magic = 0x424d4546; // "FEMB" read as a little-endian uint32.
const version = 2;
const sealOffset = 24;
const dtypes: readonly EmbeddingDtype[] = ["f32", "f16"];
const bytesPerNumber = { f32: 4, f16: 2 } as const;

/** Length of the header in bytes; a multiple of 8, so that the tensor is aligned where the value is. */
export const headerBytes = sealOffset + sealBytes;

/** Why bytes are not the embedding of a key. */
export type Flaw = "truncated" | "magic" | "version" | "dtype" | "dims" | "length" | "seal" | "number";

/** What decoding found. */
export type Decoded = { readonly embedding: Embedding } | { readonly flaw: Flaw };

/** Embeddings as bytes, bound to their keys and sealed. */
export class EmbeddingCodec {
  readonly #seal: Seal;

  constructor(seal: Seal) {
    this.#seal = seal;
  }

  /**
   * Writes an embedding into new bytes, which share nothing with it, in the number type that its key says. Throws a RangeError when the
   * key is none, when the data does not fit the dims, or when a number is not finite in that type (in f16 beyond 65,504): such a value
   * would quietly change answers.
   */
  encode(key: string, embedding: Embedding): Uint8Array<ArrayBuffer> {
    const dtype = embeddingKeyDtype(key);
    if (dtype === undefined) throw new RangeError(`${JSON.stringify(key)} is no embedding key.`);
    const { dims, data } = embedding;
    if (!isWhole(embedding)) throw new RangeError(`${data.length} numbers are no [${dims}] tensor.`);
    const payloadBytes = data.length * bytesPerNumber[dtype];
    const value = new Uint8Array(headerBytes + payloadBytes);
    const view = new DataView(value.buffer);
    view.setUint32(0, magic, true);
    view.setUint8(4, version);
    view.setUint8(5, dtypes.indexOf(dtype));
    view.setUint32(8, dims[0], true);
    view.setUint32(12, dims[1], true);
    view.setUint32(16, payloadBytes, true);
    const numbers = new { f32: Float32Array, f16: Float16Array }[dtype](value.buffer, headerBytes);
    numbers.set(data);
    if (!allFinite(numbers)) throw new RangeError(`A number of this embedding is not finite as ${dtype}.`);
    value.set(this.#sealOf(key, value), sealOffset);
    return value;
  }

  /**
   * Reads the value of a key at any alignment. The embedding is a copy: it does not keep the value alive. Never throws: whatever was not
   * written under this key by someone who knows the secret comes back as a flaw, to be counted and treated as a miss.
   */
  decode(key: string, value: Uint8Array): Decoded {
    if (value.byteLength < headerBytes) return { flaw: "truncated" };
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    if (view.getUint32(0, true) !== magic) return { flaw: "magic" };
    if (view.getUint8(4) !== version) return { flaw: "version" };
    const dtype = dtypes[view.getUint8(5)];
    if (dtype === undefined || dtype !== embeddingKeyDtype(key)) return { flaw: "dtype" };
    const rows = view.getUint32(8, true);
    const width = view.getUint32(12, true);
    if (rows === 0 || width === 0) return { flaw: "dims" };
    const payloadBytes = view.getUint32(16, true);
    if (payloadBytes > value.byteLength - headerBytes) return { flaw: "truncated" };
    if (payloadBytes !== value.byteLength - headerBytes) return { flaw: "length" };
    if (payloadBytes !== rows * width * bytesPerNumber[dtype]) return { flaw: "dims" };
    const seal = value.subarray(sealOffset, headerBytes);
    if (!this.#seal.verifies(seal, "embedding", key, ...sealedParts(value))) return { flaw: "seal" };
    const payload = new Uint8Array(payloadBytes);
    payload.set(value.subarray(headerBytes));
    const { buffer } = payload;
    const data = dtype === "f32" ? new Float32Array(buffer) : Float32Array.from(new Float16Array(buffer));
    // Who knows the secret may still be broken.
    if (!allFinite(data)) return { flaw: "number" };
    return { embedding: { dims: [rows, width], data } };
  }

  #sealOf(key: string, value: Uint8Array): Uint8Array {
    return this.#seal.of("embedding", key, ...sealedParts(value));
  }
}

function sealedParts(value: Uint8Array): [header: Uint8Array, payload: Uint8Array] {
  return [value.subarray(0, sealOffset), value.subarray(headerBytes)];
}

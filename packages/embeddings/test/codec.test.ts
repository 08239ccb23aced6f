import { expect, test } from "vitest";
import { type Decoded, decode, type Embedding, encode, headerBytes } from "../src/index.ts";

function embedding(rows: number, width: number): Embedding {
  const data = Float32Array.from({ length: rows * width }, (_, index) => Math.sin(index * 1.7) * 3);
  return { dims: [rows, width], data };
}

function problemOf(decoded: Decoded): string | undefined {
  return "flaw" in decoded ? decoded.flaw : undefined;
}

function at(offset: number, value: Uint8Array): Uint8Array {
  const room = new Uint8Array(value.length + offset + 3).fill(0xaa);
  room.set(value, offset);
  return room.subarray(offset, offset + value.length);
}

test("f32 comes back bit for bit at every alignment, for any size", () => {
  for (const [rows, width] of [
    [1, 1],
    [3, 5],
    [577, 768],
  ] as const) {
    const original = embedding(rows, width);
    const value = encode(original);
    expect(value.length).toBe(headerBytes + rows * width * 4);
    for (let offset = 0; offset < 4; offset++) {
      for (const view of [at(offset, value), Buffer.from(at(offset, value))]) {
        expect(decode(view)).toEqual({ embedding: original, dtype: "f32" });
      }
    }
  }
});

test("special numbers survive as f32", () => {
  const data = Float32Array.of(-0, Number.NaN, Number.POSITIVE_INFINITY, 1e-45);
  const decoded = decode(encode({ dims: [2, 2], data }));
  expect("embedding" in decoded && decoded.embedding.data).toEqual(data);
});

test("f16 comes back as its nearest half at every alignment, in half the bytes", () => {
  const original = embedding(7, 9);
  const value = encode(original, "f16");
  expect(value.length).toBe(headerBytes + 7 * 9 * 2);
  const expected = Float32Array.from(original.data, Math.f16round);
  for (let offset = 0; offset < 4; offset++) {
    expect(decode(at(offset, value))).toEqual({ embedding: { dims: [7, 9], data: expected }, dtype: "f16" });
  }
});

test("f16 refuses a number it cannot hold", () => {
  for (const number of [70_000, Number.NaN, Number.NEGATIVE_INFINITY]) {
    expect(() => encode({ dims: [1, 1], data: Float32Array.of(number) }, "f16")).toThrow(RangeError);
  }
});

test("encoding refuses data that do not fit the dims", () => {
  expect(() => encode({ dims: [2, 2], data: new Float32Array(3) })).toThrow(RangeError);
  expect(() => encode({ dims: [0, 2], data: new Float32Array(0) })).toThrow(RangeError);
});

test("neither side shares memory with the other", () => {
  const original = embedding(2, 3);
  const value = encode(original);
  const decoded = decode(value);
  if ("flaw" in decoded) throw new Error(decoded.flaw);
  original.data.fill(9);
  value.fill(0);
  expect(decoded.embedding.data).toEqual(embedding(2, 3).data);
  expect(decoded.embedding.data.buffer.byteLength).toBe(24);
});

test("any flipped bit is noticed, in every header field and in the tensor", () => {
  for (const dtype of ["f32", "f16"] as const) {
    const value = encode(embedding(3, 4), dtype);
    for (let byte = 0; byte < value.length; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = value.slice();
        flipped[byte] = (flipped[byte] ?? 0) ^ (1 << bit);
        expect(problemOf(decode(flipped)), `byte ${byte}, bit ${bit}`).toBeDefined();
      }
    }
  }
});

test("each header field has its own problem", () => {
  const cases: Array<[offset: number, flaw: string]> = [
    [0, "magic"],
    [4, "version"],
    [5, "dtype"],
    [6, "checksum"],
    [8, "dims"],
    [12, "dims"],
    [20, "checksum"],
    [headerBytes, "checksum"],
  ];
  for (const [offset, problem] of cases) {
    const value = encode(embedding(3, 4));
    value[offset] = (value[offset] ?? 0) ^ 0x40;
    expect(problemOf(decode(value))).toBe(problem);
  }
  const shorter = encode(embedding(3, 4));
  new DataView(shorter.buffer).setUint32(16, 44, true);
  expect(problemOf(decode(shorter))).toBe("length");
});

test("every truncation and any trailing byte is noticed", () => {
  const value = encode(embedding(3, 4));
  for (let length = 0; length < value.length; length++) {
    expect(problemOf(decode(value.subarray(0, length)))).toBe("truncated");
  }
  expect(problemOf(decode(new Uint8Array([...value, 0])))).toBe("length");
});

test("dims that claim more than the value holds are refused without allocating", () => {
  const value = encode(embedding(1, 1));
  const view = new DataView(value.buffer);
  view.setUint32(8, 0xffffffff, true);
  view.setUint32(12, 0xffffffff, true);
  expect(problemOf(decode(value))).toBe("dims");
  view.setUint32(16, 0xffffffff, true);
  expect(problemOf(decode(value))).toBe("truncated");
});

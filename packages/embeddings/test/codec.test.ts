import { Secret } from "@florence/service";
import { expect, test } from "vitest";
import { type Decoded, type Embedding, EmbeddingCodec, embeddingKey, headerBytes, Seal } from "../src/index.ts";

const keyOf = (dtype: "f32" | "f16", pixel = "b") =>
  embeddingKey({ weightsDigest: "a".repeat(64), preprocess: "p1", dtype, pixelsSha256: pixel.repeat(64) });
const [f32, f16] = [keyOf("f32"), keyOf("f16")];
const codec = new EmbeddingCodec(new Seal(new Secret("a secret of this test's cluster")));

function embedding(rows: number, width: number): Embedding {
  const data = Float32Array.from({ length: rows * width }, (_, index) => Math.sin(index * 1.7) * 3);
  return { dims: [rows, width], data };
}

function flawOf(decoded: Decoded): string | undefined {
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
    const value = codec.encode(f32, original);
    expect(value.length).toBe(headerBytes + rows * width * 4);
    for (let offset = 0; offset < 4; offset++) {
      for (const view of [at(offset, value), Buffer.from(at(offset, value))]) {
        expect(codec.decode(f32, view)).toEqual({ embedding: original });
      }
    }
  }
});

test("the least, the largest and the signed numbers of f32 survive", () => {
  const data = Float32Array.of(-0, 1e-45, 3.4028234663852886e38, -3.4028234663852886e38);
  const decoded = codec.decode(f32, codec.encode(f32, { dims: [2, 2], data }));
  expect("embedding" in decoded && decoded.embedding.data).toEqual(data);
});

test("f16 comes back as its nearest half at every alignment, in half the bytes", () => {
  const original = embedding(7, 9);
  const value = codec.encode(f16, original);
  expect(value.length).toBe(headerBytes + 7 * 9 * 2);
  const expected = Float32Array.from(original.data, Math.f16round);
  for (let offset = 0; offset < 4; offset++) {
    expect(codec.decode(f16, at(offset, value))).toEqual({ embedding: { dims: [7, 9], data: expected } });
  }
});

test("a number that is not finite is written in neither type", () => {
  for (const number of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    for (const key of [f32, f16]) {
      const data = new Float32Array(64).fill(1);
      data[63] = number;
      expect(() => codec.encode(key, { dims: [8, 8], data })).toThrow(RangeError);
    }
  }
  expect(() => codec.encode(f16, { dims: [1, 1], data: Float32Array.of(70_000) })).toThrow(RangeError);
});

test("encoding refuses data that do not fit the dims, and what is no key", () => {
  expect(() => codec.encode(f32, { dims: [2, 2], data: new Float32Array(3) })).toThrow(RangeError);
  expect(() => codec.encode(f32, { dims: [0, 2], data: new Float32Array(0) })).toThrow(RangeError);
  expect(() => codec.encode("../key", embedding(1, 1))).toThrow(RangeError);
});

test("neither side shares memory with the other", () => {
  const original = embedding(2, 3);
  const value = codec.encode(f32, original);
  const decoded = codec.decode(f32, value);
  if ("flaw" in decoded) throw new Error(decoded.flaw);
  original.data.fill(9);
  value.fill(0);
  expect(decoded.embedding.data).toEqual(embedding(2, 3).data);
  expect(decoded.embedding.data.buffer.byteLength).toBe(24);
});

test("any flipped bit is noticed, in every header field and in the tensor", () => {
  for (const key of [f32, f16]) {
    const value = codec.encode(key, embedding(3, 4));
    for (let byte = 0; byte < value.length; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = value.slice();
        flipped[byte] = (flipped[byte] ?? 0) ^ (1 << bit);
        expect(flawOf(codec.decode(key, flipped)), `byte ${byte}, bit ${bit}`).toBeDefined();
      }
    }
  }
});

test("each header field has its own flaw", () => {
  const cases: Array<[offset: number, flaw: string]> = [
    [0, "magic"],
    [4, "version"],
    [5, "dtype"],
    [6, "seal"],
    [8, "dims"],
    [12, "dims"],
    [20, "seal"],
    [24, "seal"],
    [headerBytes, "seal"],
  ];
  for (const [offset, flaw] of cases) {
    const value = codec.encode(f32, embedding(3, 4));
    value[offset] = (value[offset] ?? 0) ^ 0x40;
    expect(flawOf(codec.decode(f32, value))).toBe(flaw);
  }
  const shorter = codec.encode(f32, embedding(3, 4));
  new DataView(shorter.buffer).setUint32(16, 44, true);
  expect(flawOf(codec.decode(f32, shorter))).toBe("length");
});

test("a value is its own key's alone", () => {
  const value = codec.encode(f32, embedding(3, 4));
  expect(flawOf(codec.decode(keyOf("f32", "c"), value))).toBe("seal");
  expect(flawOf(codec.decode(f16, value))).toBe("dtype");
  expect(flawOf(codec.decode(`${f32}.${"0".repeat(32)}`, value))).toBe("seal");
  expect(flawOf(codec.decode("no key", value))).toBe("dtype");
});

test("a value of another secret, or of none, is none; without a secret values are still bound to their keys", () => {
  const none = new EmbeddingCodec(new Seal());
  const other = new EmbeddingCodec(new Seal(new Secret("the secret of another cluster")));
  for (const foreign of [none, other]) {
    expect(flawOf(codec.decode(f32, foreign.encode(f32, embedding(3, 4))))).toBe("seal");
    expect(flawOf(foreign.decode(f32, codec.encode(f32, embedding(3, 4))))).toBe("seal");
  }
  expect(none.decode(f32, none.encode(f32, embedding(3, 4)))).toEqual({ embedding: embedding(3, 4) });
  expect(flawOf(none.decode(keyOf("f32", "c"), none.encode(f32, embedding(3, 4))))).toBe("seal");
});

test("numbers that are not finite are no embedding, though sealed by one of ours", () => {
  const seal = new Seal();
  const mine = new EmbeddingCodec(seal);
  for (const number of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const value = mine.encode(f32, embedding(3, 4));
    new DataView(value.buffer).setFloat32(value.length - 4, number, true);
    value.set(seal.of("embedding", f32, value.subarray(0, 24), value.subarray(headerBytes)), 24);
    expect(flawOf(mine.decode(f32, value))).toBe("number");
  }
});

test("every truncation and any trailing byte is noticed", () => {
  const value = codec.encode(f32, embedding(3, 4));
  for (let length = 0; length < value.length; length++) {
    expect(flawOf(codec.decode(f32, value.subarray(0, length)))).toBe("truncated");
  }
  expect(flawOf(codec.decode(f32, new Uint8Array([...value, 0])))).toBe("length");
});

test("dims that claim more than the value holds are refused without allocating", () => {
  const value = codec.encode(f32, embedding(1, 1));
  const view = new DataView(value.buffer);
  view.setUint32(8, 0xffffffff, true);
  view.setUint32(12, 0xffffffff, true);
  expect(flawOf(codec.decode(f32, value))).toBe("dims");
  view.setUint32(16, 0xffffffff, true);
  expect(flawOf(codec.decode(f32, value))).toBe("truncated");
});

test("a seal of one kind, or of another name, is none of another", () => {
  const seal = new Seal(new Secret("a secret of this test's cluster"));
  const sealed = Buffer.from(seal.sealText("alias", "name", "two\nlines"));
  expect(seal.openText("alias", "name", sealed)).toBe("two\nlines");
  expect(seal.openText("lease", "name", sealed)).toBeUndefined();
  expect(seal.openText("alias", "other", sealed)).toBeUndefined();
  expect(seal.openText("alias", "name", sealed.subarray(1))).toBeUndefined();
  expect(seal.openText("alias", "name", Buffer.from("two"))).toBeUndefined();
  expect(seal.verifies(seal.of("alias", "a", "bc"), "alias", "ab", "c")).toBe(false);
});

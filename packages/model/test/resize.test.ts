import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeImage } from "../src/image/decode.ts";
import { resizeBicubic, type Size } from "../src/image/resize.ts";
import { pillowResize } from "./pillow-resize.ts";

const images = new URL("../../../test/fixtures/images/", import.meta.url);

interface Case extends Size {
  file: string;
  size: number;
  resizedSha256: string;
  firstRow: number[];
  middleRow: number[];
}
const { cases } = JSON.parse(readFileSync(new URL("resize.json", images), "utf8")) as { cases: Case[] };

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Numbers that are the same in every run. */
function randomly(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const noise = ({ width, height }: Size, below = randomly(1)) =>
  new Uint8Array(width * height * 3).map(() => below(256));

describe("the images that Pillow resized", () => {
  const resized = async (file: string, from: Size, size: number) => {
    const bytes = readFileSync(new URL(file, images));
    const { rgb } = await decodeImage(bytes, { autoOrient: false });
    return resizeBicubic(rgb, from, { width: size, height: size });
  };

  test.each(cases.filter((row) => !row.file.endsWith(".jpg")))("$file comes out byte for byte", async (row) => {
    expect(sha256(await resized(row.file, row, row.size))).toBe(row.resizedSha256);
  });

  test.each(cases.filter((row) => row.file.endsWith(".jpg")))("$file comes out within 2 levels", async (row) => {
    const rgb = await resized(row.file, row, row.size);
    const middle = Math.floor(row.size / 2) * row.size * 3;
    const seen = [...rgb.subarray(0, 48), ...rgb.subarray(middle, middle + 48)];
    const worst = [...row.firstRow, ...row.middleRow].map((value, index) => Math.abs(value - (seen[index] as number)));
    expect(worst).toHaveLength(96);
    expect(Math.max(...worst)).toBeLessThanOrEqual(2);
  });
});

describe("the fast kernel equals the plain algorithm", () => {
  test("at random sizes, in both pass orders, on noise", () => {
    const below = randomly(7);
    for (let round = 0; round < 120; round++) {
      const from = { width: 1 + below(90), height: 1 + below(90) };
      const to = { width: 1 + below(90), height: 1 + below(90) };
      const rgb = noise(from, below);
      const equal = Buffer.compare(resizeBicubic(rgb, from, to), pillowResize(rgb, from, to)) === 0;
      expect(equal, `${from.width}x${from.height} to ${to.width}x${to.height}`).toBe(true);
    }
  });

  const size = { width: 48, height: 48 };
  test.each([
    { name: "one pixel", from: { width: 1, height: 1 }, to: size },
    { name: "a long line", from: { width: 5000, height: 20 }, to: size },
    { name: "a tall line", from: { width: 20, height: 5000 }, to: size },
    { name: "the widest image", from: { width: 65_535, height: 2 }, to: size },
    { name: "the tallest image", from: { width: 2, height: 65_535 }, to: size },
    { name: "an image of many blocks", from: { width: 400, height: 700 }, to: size },
    { name: "only the width", from: { width: 100, height: 48 }, to: size },
    { name: "only the height", from: { width: 48, height: 100 }, to: size },
  ])("for $name", ({ from, to }) => {
    const rgb = noise(from);
    expect(Buffer.compare(resizeBicubic(rgb, from, to), pillowResize(rgb, from, to))).toBe(0);
  });

  test("where the sharpest edges overshoot", () => {
    const from = { width: 40, height: 40 };
    const to = { width: 96, height: 25 };
    const rgb = noise(from).map((value) => (value < 128 ? 0 : 255));
    expect(Buffer.compare(resizeBicubic(rgb, from, to), pillowResize(rgb, from, to))).toBe(0);
  });
});

test("an image that has its size already is returned as it is, without a copy", () => {
  const size = { width: 768, height: 768 };
  const rgb = noise(size);
  expect(resizeBicubic(rgb, size, size)).toBe(rgb);
});

test("a resize never depends on the one before it", () => {
  const [small, large, to] = [
    { width: 30, height: 20 },
    { width: 900, height: 700 },
    { width: 64, height: 64 },
  ];
  const rgb = noise(small);
  const before = resizeBicubic(rgb, small, to);
  const kept = before.slice();
  resizeBicubic(noise(large), large, to);
  expect(before).toEqual(kept);
  expect(resizeBicubic(rgb, small, to)).toEqual(kept);
});

test("bytes that do not fit the size, and empty sizes, are refused", () => {
  const size = { width: 2, height: 2 };
  expect(() => resizeBicubic(new Uint8Array(11), size, size)).toThrow(RangeError);
  expect(() => resizeBicubic(new Uint8Array(0), { width: 0, height: 2 }, size)).toThrow(RangeError);
  expect(() => resizeBicubic(new Uint8Array(12), size, { width: 2, height: 0 })).toThrow(RangeError);
});

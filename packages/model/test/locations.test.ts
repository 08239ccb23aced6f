import { expect, test } from "vitest";
import { dequantize, dequantizePoints, quantize } from "../src/text/locations.ts";
import { type ParseFixture, readFixture } from "./fixtures.ts";

const { quantize: rows } = readFixture<ParseFixture>("parse.json");

test("every box gets the reference's bins, and its bins the reference's pixels", () => {
  expect(rows).toHaveLength(200);
  for (const { imageSize, box, bins, back } of rows) {
    const [width, height] = imageSize;
    expect(box.map((x, i) => quantize(x, i % 2 === 0 ? width : height))).toEqual(bins);
    expect(dequantizePoints(bins, { width, height })).toEqual(back);
  }
});

test("coordinates outside the image go to the first and the last bin", () => {
  expect([quantize(-1, 640), quantize(640, 640), quantize(1e9, 640)]).toEqual([0, 999, 999]);
});

test("a bin past the last is read without complaint, and one past all measure stays a 32-bit integer", () => {
  expect(dequantize(1000, 1000)).toBe(1000);
  expect(dequantize(Number("9".repeat(400)), 640)).toBe(2 ** 31 - 1);
});

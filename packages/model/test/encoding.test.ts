import { expect, test } from "vitest";
import { encodingOf, imagesPerCall, type Manifest, type Precision, precisions } from "../src/index.ts";

const manifest = (precision: Precision, size = 768, positions = 1024) =>
  ({
    precision,
    digest: "d".repeat(64),
    config: {
      preprocess: { size, mean: [0.5] },
      vision: { channels: [128, 256] },
      text: { hidden: 768, positions },
      maps: [192, 96],
      imageTokens: 577,
    },
  }) as unknown as Manifest;

const bytesOfOne = 192 * 192 * 128 * 4 * 25;

test.each(precisions)(
  "a call in %s holds several images only where neighbours cannot change each other's numbers",
  (precision) => {
    const fits = imagesPerCall(manifest(precision), { batchMax: 4, batchBytesMax: 100 * bytesOfOne });
    expect(fits).toBe(encodingOf(manifest(precision)).oneByOne ? 1 : 4);
  },
);

test("a call is bounded by images and by bytes, and always holds one", () => {
  expect(imagesPerCall(manifest("fp32"), { batchMax: 4, batchBytesMax: 3 * bytesOfOne })).toBe(3);
  expect(imagesPerCall(manifest("fp32"), { batchMax: 4, batchBytesMax: 1 })).toBe(1);
});

test("whatever changes an embedding beside weights and pixels changes the version in its key", () => {
  const all = [...precisions.map((precision) => manifest(precision)), manifest("fp32", 512)];
  const versions = all.map((each) => encodingOf(each).preprocess);
  expect(new Set(versions).size).toBe(all.length);
  for (const version of versions) expect(version).toMatch(/^p3-[A-Za-z0-9_-]{1,29}$/);
});

test("the longest prompt is bounded however many positions the table has", () => {
  expect(encodingOf(manifest("fp32")).promptTokensMax).toBe(1024 - 577);
  expect(encodingOf(manifest("fp32", 768, 4096)).promptTokensMax).toBe(1024);
});

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeImage } from "../src/image/decode.ts";
import { readFixture, repositoryPath } from "./fixtures.ts";
import { heicGrid, heicTile } from "./image-files.ts";

interface Decoded {
  size: [width: number, height: number];
  sha256: string;
}
/** Files of every format and mode, with what Pillow reads from them (lab/images/make-corpus.py). */
const { cases } = readFixture<{ cases: { file: string; bytes: string; stored: Decoded; upright?: Decoded }[] }>(
  "images/formats.json",
);

const shown = ({ width, height, rgb }: { width: number; height: number; rgb: Uint8Array }): Decoded => ({
  size: [width, height],
  sha256: createHash("sha256").update(rgb).digest("hex"),
});

describe("what Pillow reads is read the same", () => {
  test.each(cases)("$file", async ({ bytes, stored, upright }) => {
    const file = Buffer.from(bytes, "base64");
    expect(shown(await decodeImage(file, { autoOrient: false }))).toEqual(stored);
    expect(shown(await decodeImage(file, { autoOrient: true }))).toEqual(upright ?? stored);
  });

  test("in all formats that both read", () => {
    const formats = new Set(cases.map(({ file }) => file.split("-", 1)[0]));
    expect(formats).toEqual(new Set(["avif", "bmp", "gif", "jpeg", "png", "tiff", "webp"]));
  });
});

const phone = readFileSync(repositoryPath("test/fixtures/images/phone.heic"));

test("a HEIC image is read", async () => {
  // 64x40 pixels whose red grows by 4 a column, green by 6 a row and blue by 3 with both.
  const { width, height, rgb } = await decodeImage(phone, { autoOrient: true });
  expect([width, height, rgb.length]).toEqual([64, 40, 64 * 40 * 3]);
  for (const [x, y] of [
    [4, 4],
    [30, 20],
    [45, 30],
    [10, 36],
  ] as const) {
    const pixel = [...rgb.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
    for (const [channel, value] of [x * 4, y * 6, (x + y) * 3].entries()) {
      expect(Math.abs((pixel[channel] as number) - (value % 256)), `${x},${y}: ${pixel}`).toBeLessThan(24);
    }
  }
});

test("a HEIC image of tiles, as phones write it, is put together and turned as it says", async () => {
  const tile = { width: 64, height: 64 };
  const stored = await decodeImage(heicGrid(heicTile(phone), tile, [3, 2], 0), { autoOrient: true });
  expect([stored.width, stored.height, stored.warnings]).toEqual([192, 128, []]);
  const pixel = (image: typeof stored, x: number, y: number) => [
    ...image.rgb.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3),
  ];
  for (const [x, y] of [
    [70, 3],
    [10, 70],
    [190, 100],
  ] as const) {
    expect(pixel(stored, x, y), `${x},${y}`).toEqual(pixel(stored, x % 64, y % 64));
  }
  // Three quarters counter-clockwise: the first stored row is the right-hand column.
  const turned = heicGrid(heicTile(phone), tile, [3, 2], 3);
  const upright = await decodeImage(turned, { autoOrient: true });
  expect([upright.width, upright.height]).toEqual([128, 192]);
  expect(upright.warnings.map(({ code }) => code)).toEqual(["orientation_applied"]);
  for (const at of [0, 20, 150]) expect(pixel(upright, 127, at)).toEqual(pixel(stored, at, 0));
  expect((await decodeImage(turned, { autoOrient: false })).rgb).toEqual(stored.rgb);
});

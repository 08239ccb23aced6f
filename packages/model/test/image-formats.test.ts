import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeImage } from "../src/image/decode.ts";
import { readFixture, repositoryPath } from "./fixtures.ts";

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

test("a HEIC image is read, turned as the file says", async () => {
  // 64x40 pixels whose red grows by 4 a column, green by 6 a row and blue by 3 with both.
  const { width, height, rgb } = await decodeImage(readFileSync(repositoryPath("test/fixtures/images/phone.heic")), {
    autoOrient: true,
  });
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

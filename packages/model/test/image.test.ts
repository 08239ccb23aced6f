import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { ModelError } from "../src/errors.ts";
import { decodeImage } from "../src/image/decode.ts";
import { imageDigest, prepareImage } from "../src/image/prepare.ts";

const images = new URL("../../../test/fixtures/images/", import.meta.url);
const read = (file: string) => readFileSync(new URL(file, images));
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

interface Case {
  file: string;
  width: number;
  height: number;
  decodedSha256: string;
}
const { cases } = JSON.parse(read("resize.json").toString()) as { cases: Case[] };

const asStored = { autoOrient: false };
const smooth = read("smooth-200x120.png");
const decodedSmooth = await decodeImage(smooth, asStored);

const codeOf = async (bytes: Uint8Array, options: { autoOrient: boolean; pixelsMax?: number } = asStored) => {
  try {
    await decodeImage(bytes, options);
    return "decoded";
  } catch (error) {
    if (error instanceof ModelError) return error.code;
    throw error;
  }
};

test.each(cases)("$file decodes to the same RGB rows as in Pillow", async (row) => {
  const { width, height, rgb } = await decodeImage(read(row.file), asStored);
  expect({ width, height }).toEqual({ width: row.width, height: row.height });
  expect(sha256(rgb)).toBe(row.decodedSha256);
});

describe("colours", () => {
  test.each(["png", "webp"] as const)("a Display P3 profile in a %s does not shift them", async (type) => {
    const profiled = await sharp(smooth).withIccProfile("p3").toFormat(type, { lossless: true }).toBuffer();
    expect((await sharp(profiled).metadata()).icc).toBeDefined();
    // Writing converts to P3. What the file stores is what must come out, not what the profile would make of it.
    const stored = await sharp(profiled, { ignoreIcc: true }).removeAlpha().raw().toBuffer();
    const managed = await sharp(profiled).removeAlpha().raw().toBuffer();
    const { rgb } = await decodeImage(profiled, asStored);
    expect(sha256(rgb)).toBe(sha256(stored));
    expect(sha256(rgb)).not.toBe(sha256(managed));
  });

  test("a grey profile does not shift them", async () => {
    const grey = read("gray-90x60.png");
    const profiled = await sharp(grey).toColourspace("b-w").png().withMetadata().toBuffer();
    expect(sha256((await decodeImage(profiled, asStored)).rgb)).toBe(sha256((await decodeImage(grey, asStored)).rgb));
  });

  test("a CMYK JPEG is read without a profile, as Pillow does", async () => {
    // 8x8 pixels of ink (10, 200, 100, 50), written by Pillow, which reads them back as (197, 44, 125).
    const cmyk = Buffer.from(
      "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwABAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB" +
        "/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAoI/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAAPwB1A262" +
        "CaH/2Q==",
      "base64",
    );
    const { width, height, rgb } = await decodeImage(cmyk, asStored);
    expect([width, height, rgb.length]).toEqual([8, 8, 192]);
    expect(new Set(Array.from({ length: 64 }, (_, i) => rgb.subarray(i * 3, i * 3 + 3).join()))).toEqual(
      new Set(["197,44,125"]),
    );
  });

  test.each([
    { channels: 1, space: "grey16" },
    { channels: 3, space: "rgb16" },
    { channels: 4, space: "rgb16" },
  ] as const)("of 16 bits in $channels channels the upper 8 count", async ({ channels, space }) => {
    const values = new Uint16Array(60 * 40 * channels).map((_, index) => index * 7919);
    const raw = { width: 60, height: 40, channels };
    const png = await sharp(values, { raw }).toColourspace(space).png().toBuffer();
    expect((await sharp(png).metadata()).depth).toBe("ushort");
    const { rgb } = await decodeImage(png, asStored);
    const expected = new Uint8Array(60 * 40 * 3).map((_, index) => {
      const channel = channels === 1 ? 0 : index % 3;
      return (values[Math.floor(index / 3) * channels + channel] as number) >> 8;
    });
    expect(rgb).toEqual(expected);
  });

  test("alpha is dropped, not blended", async () => {
    const raw = { width: 2, height: 1, channels: 4 } as const;
    const png = await sharp(new Uint8Array([10, 20, 30, 0, 40, 50, 60, 128]), { raw })
      .png()
      .toBuffer();
    expect([...(await decodeImage(png, asStored)).rgb]).toEqual([10, 20, 30, 40, 50, 60]);
  });

  test.each(["gif", "webp"] as const)("an animated %s gives its first frame", async (type) => {
    const frame = (colour: number[]) => new Array<number[]>(64).fill(colour).flat();
    const raw = { width: 8, height: 16, channels: 3, pageHeight: 8 } as const;
    const frames = new Uint8Array([...frame([200, 40, 80]), ...frame([0, 0, 255])]);
    const animated = await sharp(frames, { raw }).toFormat(type, { lossless: true }).toBuffer();
    const { width, height, rgb, warnings } = await decodeImage(animated, asStored);
    expect([width, height]).toEqual([8, 8]);
    expect([...rgb]).toEqual(frame([200, 40, 80]));
    expect(warnings.map(({ code }) => code)).toEqual(["later_frames_ignored"]);
  });
});

describe("orientation", () => {
  test("an image is turned upright when asked", async () => {
    const stored = await decodeImage(read("jpeg-exif6.jpg"), asStored);
    const upright = await decodeImage(read("jpeg-exif6.jpg"), { autoOrient: true });
    expect([upright.width, upright.height]).toEqual([stored.height, stored.width]);
    // Orientation 6: the first stored row is the right-hand column, from the top.
    const pixel = (image: typeof stored, x: number, y: number) => [
      ...image.rgb.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3),
    ];
    for (const x of [0, 1, 60, 119]) expect(pixel(upright, upright.width - 1, x)).toEqual(pixel(stored, x, 0));
  });

  test("an image without EXIF data is the same either way", async () => {
    expect((await decodeImage(smooth, { autoOrient: true })).rgb).toEqual(decodedSmooth.rgb);
  });
});

describe("what is refused", () => {
  test.each([
    ["SVG", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'],
    ["SVG with a declaration", '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'],
    ["PDF", "%PDF-1.7\n1 0 obj"],
    ["plain text", "not an image"],
    ["one byte", "\xff"],
  ])("%s is no supported type", async (_, text) => {
    expect(await codeOf(Buffer.from(text, "latin1"))).toBe("image_type_unsupported");
  });

  test("an SVG that starts like a GIF does not reach the SVG reader", async () => {
    const text = 'GIF89a<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>';
    expect(await codeOf(Buffer.from(text))).toBe("image_undecodable");
  });

  test("no bytes at all cannot be decoded", async () => {
    expect(await codeOf(new Uint8Array(0))).toBe("image_undecodable");
  });

  test.each(["jpeg", "png", "webp", "gif", "avif"] as const)("a %s that is cut off cannot be decoded", async (type) => {
    const whole = await sharp(smooth).toFormat(type).toBuffer();
    expect(await codeOf(whole)).toBe("decoded");
    for (const length of [12, 30, whole.length >> 1, whole.length - 20]) {
      expect(await codeOf(whole.subarray(0, length)), `${length} of ${whole.length} bytes`).toBe("image_undecodable");
    }
  });

  test("a tiff that is cut off cannot be decoded", async () => {
    const whole = await sharp(smooth).tiff({ compression: "lzw" }).toBuffer();
    expect(await codeOf(whole)).toBe("decoded");
    // At its end stands what pixels do not need.
    for (const length of [4, 12, 30, whole.length >> 1]) {
      expect(await codeOf(whole.subarray(0, length)), `${length} bytes`).toBe("image_undecodable");
    }
  });

  test("a TIFF with a changed strip cannot be decoded, and leaves nothing black", async () => {
    const whole = await sharp(smooth).tiff({ compression: "deflate" }).toBuffer();
    whole.fill(0x5a, 60, 100);
    expect(await codeOf(whole)).toBe("image_undecodable");
  });

  test("a PNG with changed bytes cannot be decoded", async () => {
    const broken = Uint8Array.from(smooth);
    broken.fill(0x5a, broken.length >> 1, (broken.length >> 1) + 40);
    expect(await codeOf(broken)).toBe("image_undecodable");
  });

  test("too many pixels are refused from the header alone", async () => {
    expect(await codeOf(smooth, { autoOrient: false, pixelsMax: 200 * 120 - 1 })).toBe("image_too_many_pixels");
    expect(await codeOf(smooth, { autoOrient: false, pixelsMax: 200 * 120 })).toBe("decoded");
    const background = "red";
    const bomb = await sharp({ create: { width: 8000, height: 7000, channels: 3, background } })
      .png({ compressionLevel: 1 })
      .toBuffer();
    expect(await codeOf(bomb)).toBe("image_too_many_pixels");
    // Cut off, it would be undecodable if a pixel had been looked at.
    expect(await codeOf(bomb.subarray(0, bomb.length >> 1))).toBe("image_too_many_pixels");
  });

  test("an image longer than any JPEG is refused", async () => {
    const line = await sharp({ create: { width: 65_536, height: 1, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    expect(await codeOf(line)).toBe("image_too_many_pixels");
  });
});

describe("a prepared image", () => {
  const size = 64;

  test.each([
    [1, 1],
    [5000, 20],
  ])("of %i by %i pixels is good input", async (width, height) => {
    const png = await sharp({ create: { width, height, channels: 3, background: "#123456" } })
      .png()
      .toBuffer();
    const image = await prepareImage(png, { autoOrient: true, size });
    expect([image.width, image.height, image.pixels.length]).toEqual([width, height, size * size * 3]);
    expect(image.pixels).toEqual(new Uint8Array(size * size * 3).map((_, index) => [0x12, 0x34, 0x56][index % 3] ?? 0));
  });

  test("has the digest of its size and its RGB rows, whatever the file", async () => {
    const webp = await sharp(smooth).webp({ lossless: true }).toBuffer();
    const prepared = await prepareImage(webp, { autoOrient: true, size });
    expect(prepared.sha256).toBe(sha256(Buffer.concat([Buffer.from("200x120\n"), decodedSmooth.rgb])));
    expect(prepared.sha256).toBe((await prepareImage(smooth, { autoOrient: true, size })).sha256);
  });

  test("of the same bytes in another shape has another digest", () => {
    const { width, height, rgb } = decodedSmooth;
    expect(imageDigest({ width: height, height: width, rgb })).not.toBe(imageDigest({ width, height, rgb }));
  });
});

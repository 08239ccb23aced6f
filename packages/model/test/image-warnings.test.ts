import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { decodeImage } from "../src/image/decode.ts";
import type { Colour } from "../src/image/pixels.ts";
import { prepareImage } from "../src/image/prepare.ts";
import { pngChunk, pngHeader, pngSignature } from "./image-files.ts";

const asStored = { autoOrient: false };
const codesOf = async (file: Uint8Array) => (await decodeImage(file, asStored)).warnings.map(({ code }) => code);

const rgba = new Uint8Array([10, 20, 30, 0, 40, 50, 60, 128, 70, 80, 90, 255, 1, 2, 3, 200]);
const raw = { width: 2, height: 2, channels: 4 } as const;
const transparent = sharp(rgba, { raw });
const opaque = transparent.clone().removeAlpha();

describe("a background", () => {
  const on = async (file: Uint8Array, background: Colour) => [
    ...(await decodeImage(file, { autoOrient: false, background })).rgb,
  ];

  test.each(["png", "webp"] as const)("is seen behind the transparent pixels of a %s", async (type) => {
    const file = await transparent.clone().toFormat(type, { lossless: true, exact: true }).toBuffer();
    // What Pillow's paste on white gives with this alpha as its mask.
    const blended = [255, 255, 255, 147, 152, 157, 70, 80, 90, 56, 57, 57];
    expect(await on(file, [255, 255, 255])).toEqual(blended);
    expect(await on(file, [0, 0, 0])).toEqual([0, 0, 0, 20, 25, 30, 70, 80, 90, 1, 2, 2]);
  });

  test("is seen behind the transparent colour of a GIF, and around its frame", async () => {
    // A canvas of 3x1 pixels; a frame of 2x1 with indices 1 and 0, of which 1 is transparent.
    const head = "GIF89a\x03\0\x01\0\x80\0\0\x0a\x0b\x0c\xc8\xc9\xca!\xf9\x04\x01\0\0\x01\0,\0\0\0\0\x02\0\x01\0\0";
    const gif = Buffer.from(`${head}\x02\x02\x0c\x0a\0;`, "latin1");
    expect([...(await decodeImage(gif, asStored)).rgb]).toEqual([200, 201, 202, 10, 11, 12, 200, 201, 202]);
    expect(await on(gif, [1, 2, 3])).toEqual([1, 2, 3, 10, 11, 12, 1, 2, 3]);
    expect(await codesOf(gif)).toEqual(["alpha_dropped"]);
  });

  test("changes nothing where all is opaque", async () => {
    const file = await opaque.clone().png().toBuffer();
    expect(await on(file, [255, 0, 0])).toEqual([...(await decodeImage(file, asStored)).rgb]);
  });

  test("that is no colour is refused", async () => {
    const file = await opaque.clone().png().toBuffer();
    for (const background of [
      [256, 0, 0],
      [-1, 0, 0],
      [0.5, 0, 0],
      [0, 0],
      [Number.NaN, 0, 0],
    ]) {
      await expect(decodeImage(file, { autoOrient: false, background: background as never })).rejects.toMatchObject({
        code: "option_invalid",
      });
    }
  });
});

describe("16-bit grey", () => {
  const grey16 = (values: number[]) => {
    const row = Buffer.alloc(1 + values.length * 2);
    for (const [index, value] of values.entries()) row.writeUInt16BE(value, 1 + index * 2);
    const header = pngHeader(values.length, 1, 16, 0);
    return Buffer.concat([pngSignature, header, pngChunk("IDAT", deflateSync(row)), pngChunk("IEND", Buffer.alloc(0))]);
  };
  const decoded = async (values: number[]) => {
    const { rgb, warnings } = await decodeImage(grey16(values), asStored);
    return { grey: values.map((_, index) => rgb[index * 3]), codes: warnings.map(({ code }) => code) };
  };

  test("that leaves its upper bits empty is scaled by its range, and says so", async () => {
    expect(await decoded([0, 1000, 4080])).toEqual({ grey: [0, 62, 255], codes: ["grey_scaled"] });
    expect(await decoded([0, 512, 1023])).toEqual({ grey: [0, 128, 255], codes: ["grey_scaled"] });
    expect(await decoded([0, 7, 200])).toEqual({ grey: [0, 7, 200], codes: ["grey_scaled"] });
  });

  test("that uses them keeps its upper 8 bits", async () => {
    expect(await decoded([0, 1000, 0xffff])).toEqual({ grey: [0, 3, 255], codes: [] });
    expect(await decoded([0, 0x4000])).toEqual({ grey: [0, 64], codes: [] });
  });

  test("that is all black stays black", async () => {
    expect(await decoded([0, 0, 0])).toEqual({ grey: [0, 0, 0], codes: [] });
  });
});

describe("what could surprise is said", () => {
  test("alpha that hid something, but not one that is opaque everywhere", async () => {
    expect(await codesOf(await transparent.clone().png().toBuffer())).toEqual(["alpha_dropped"]);
    expect(await codesOf(await opaque.clone().ensureAlpha().png().toBuffer())).toEqual([]);
  });

  test("inks", async () => {
    expect(await codesOf(await opaque.clone().toColourspace("cmyk").jpeg().toBuffer())).toEqual(["cmyk_converted"]);
  });

  test.each(["jpeg", "png", "webp", "tiff", "avif"] as const)(
    "a colour profile other than sRGB in a %s",
    async (type) => {
      const withProfile = (profile: string) => opaque.clone().withIccProfile(profile).toFormat(type).toBuffer();
      expect(await codesOf(await withProfile("p3"))).toEqual(["profile_ignored"]);
      expect(await codesOf(await withProfile("srgb"))).toEqual([]);
    },
  );

  test("an ordinary image says nothing", async () => {
    for (const type of ["jpeg", "png", "webp", "gif", "tiff", "avif"] as const) {
      expect(await codesOf(await opaque.clone().toFormat(type).toBuffer()), type).toEqual([]);
    }
  });

  test("and is passed on with the prepared image", async () => {
    const file = await transparent.clone().png().toBuffer();
    const { warnings } = await prepareImage(file, { autoOrient: true, size: 8 });
    expect(warnings).toEqual([{ code: "alpha_dropped", message: expect.stringContaining("background") }]);
  });
});

import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { ModelError } from "../src/errors.ts";
import { decodeImage } from "../src/image/decode.ts";
import { type ImageType, imageTypeOf } from "../src/image/type.ts";
import { type WalkedType, walk } from "../src/image/walk.ts";
import { repositoryPath } from "./fixtures.ts";
import {
  exifOfItself,
  exifPrefix,
  heicGrid,
  heicTile,
  jpegSegment,
  png,
  pngChunk,
  pngHeader,
  pngSignature,
  webp,
  webpBitstream,
  webpChunk,
  webpExtended,
  webpFrame,
  withSegments,
} from "./image-files.ts";
import { random } from "./random.ts";

const raw = { width: 24, height: 18, channels: 3 } as const;
const small = sharp(
  new Uint8Array(24 * 18 * 3).map((_, at) => (at * 37) % 251),
  { raw },
);
const jpeg = await small.clone().jpeg({ progressive: true }).toBuffer();
const pixel = await sharp({ create: { width: 1, height: 1, channels: 3, background: "red" } })
  .webp({ lossless: true })
  .toBuffer();
const none = Buffer.alloc(0);

const outcome = async (file: Uint8Array) => {
  try {
    const { width, height } = await decodeImage(file, { autoOrient: true });
    return `${width}x${height}`;
  } catch (error) {
    if (error instanceof ModelError) return error.code;
    throw error;
  }
};

/** Bytes of the file that the decoder gets. */
const kept = (type: WalkedType, file: Uint8Array) => walk(type, file).parts.reduce((sum, part) => sum + part.length, 0);

describe("a file of much beside its pixels", () => {
  test("WebP: of any number of frames only the first reaches the decoder", async () => {
    const frames = new Array<Buffer>(100_000).fill(webpFrame(0, 0, 1, 1, webpBitstream(pixel)));
    const file = webp([webpExtended(1, 1, 0x02), webpChunk("ANIM", Buffer.alloc(6)), ...frames]);
    expect(file.length).toBeGreaterThan(4_000_000);
    expect(kept("webp", file)).toBeLessThan(100);
    expect(await outcome(file)).toBe("1x1");
  });

  test("EXIF that points to itself never reaches a parser", async () => {
    const block = exifOfItself(5000);
    const inPng = png(3, 2, [pngChunk("eXIf", block)]);
    const inJpeg = withSegments(jpeg, [jpegSegment(0xe1, Buffer.concat([exifPrefix, block]))]);
    const inWebp = webp([webpExtended(1, 1, 0x08), webpBitstream(pixel), webpChunk("EXIF", block)]);
    expect(kept("png", inPng)).toBeLessThan(200);
    expect(kept("jpeg", inJpeg)).toBeLessThanOrEqual(jpeg.length);
    expect(kept("webp", inWebp)).toBeLessThan(100);
    expect(await Promise.all([inPng, inJpeg, inWebp].map(outcome))).toEqual(["3x2", "24x18", "1x1"]);
  });

  test("PNG: text is neither inflated nor kept", async () => {
    const bomb = deflateSync(Buffer.alloc(7_000_000), { level: 9 });
    const comment = pngChunk("zTXt", Buffer.concat([Buffer.from("Comment\0\0"), bomb]));
    const profile = pngChunk("zTXt", Buffer.concat([Buffer.from("Raw profile type exif\0\0"), bomb]));
    const packet = pngChunk("iTXt", Buffer.concat([Buffer.from("XML:com.adobe.xmp\0\x01\0\0\0"), bomb]));
    const file = png(3, 2, [
      ...new Array<Buffer>(200).fill(comment),
      profile,
      packet,
      ...new Array<Buffer>(50).fill(comment),
    ]);
    expect(kept("png", file)).toBeLessThan(200);
    expect(await outcome(file)).toBe("3x2");
  });

  test("PNG: a profile that inflates to more than any is passed over", async () => {
    const bomb = deflateSync(Buffer.alloc(50_000_000), { level: 9 });
    const file = png(3, 2, [pngChunk("iCCP", Buffer.concat([Buffer.from("icc\0\0"), bomb]))]);
    expect((await decodeImage(file, { autoOrient: true })).warnings).toEqual([]);
  });

  test("PNG: more chunks than any encoder writes are refused, and behind the data passed over", async () => {
    const chunks = new Array<Buffer>(100_000).fill(pngChunk("tEXt", Buffer.from("a\0b")));
    expect(await outcome(png(3, 2, chunks))).toBe("image_undecodable");
    expect(await outcome(png(3, 2, [], chunks))).toBe("3x2");
  });

  test("JPEG: comments and application data do not reach the decoder; too many are refused", async () => {
    const comment = jpegSegment(0xfe, Buffer.alloc(60_000));
    const file = withSegments(jpeg, new Array<Buffer>(100).fill(comment));
    expect(kept("jpeg", file)).toBeLessThanOrEqual(jpeg.length);
    expect(await outcome(file)).toBe("24x18");
    expect(await outcome(withSegments(jpeg, new Array<Buffer>(100_000).fill(jpegSegment(0xfe, none))))).toBe(
      "image_undecodable",
    );
  });

  test("JPEG: more scans than any encoder writes are refused before they are decoded", async () => {
    const scanAt = jpeg.indexOf(Buffer.from([0xff, 0xda]));
    const scan = jpeg.subarray(scanAt, jpeg.indexOf(Buffer.from([0xff, 0xc4]), scanAt));
    expect(scan.length).toBeGreaterThan(8);
    const bomb = Buffer.concat([jpeg.subarray(0, -2), ...new Array<Buffer>(5000).fill(scan), jpeg.subarray(-2)]);
    expect(await outcome(bomb)).toBe("image_undecodable");
    await expect(decodeImage(bomb, { autoOrient: true })).rejects.toThrow("progressive scans");
  });

  test("JPEG: what is written behind its end is not taken for scans", async () => {
    const video = Buffer.alloc(10_000).fill(Buffer.from([0xff, 0xda]));
    expect(await outcome(Buffer.concat([jpeg, video]))).toBe("24x18");
  });

  test("HEIC: a small image of many large tiles is refused before one is decoded", async () => {
    const phone = readFileSync(repositoryPath("test/fixtures/images/phone.heic"));
    const file = heicGrid(heicTile(phone), { width: 64, height: 64 }, [28, 20], 0);
    expect(await outcome(file)).toBe("1792x1280");
    // What the grid says of its own size stands behind what the tiles say of theirs.
    const size = file.indexOf("ispe", file.indexOf("ispe") + 4);
    file.writeUInt32BE(8, size + 8);
    file.writeUInt32BE(8, size + 12);
    expect(() => walk("heic", file)).toThrow(ModelError);
  });

  test("TIFF: later pages and foreign tags do not reach the decoder, nor a directory that leads to itself", async () => {
    const tiff = await small.clone().withMetadata().tiff().toBuffer();
    const at = tiff.readUInt32LE(4);
    const next = at + 2 + tiff.readUInt16LE(at) * 12;
    tiff.writeUInt32LE(at, next);
    const image = await decodeImage(tiff, { autoOrient: true });
    expect(image.width).toBe(24);
    expect(image.warnings.map(({ code }) => code)).toEqual(["later_frames_ignored"]);
    const [head] = walk("tiff", tiff).parts as [Buffer];
    expect(Buffer.from(head).readUInt32LE(4)).toBeGreaterThanOrEqual(tiff.length);
  });
});

describe("absurd sizes are refused from the header", () => {
  const frameOf = (width: number, height: number) =>
    Buffer.from([0xff, 0xc0, 0, 11, 8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0]);
  const bmp = (width: number, height: number) => {
    const file = Buffer.alloc(54);
    file.write("BM", "latin1");
    file.writeUInt32LE(54, 10);
    file.writeUInt32LE(40, 14);
    file.writeInt32LE(width, 18);
    file.writeInt32LE(height, 22);
    file.writeUInt16LE(24, 28);
    return file;
  };
  const gif = (width: number, height: number) => {
    const file = Buffer.from(`GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0????\0\x02\x02\x4c\x01\0;`, "latin1");
    file.writeUInt16LE(width, 18);
    file.writeUInt16LE(height, 20);
    return file;
  };
  const jpegOf = (width: number, height: number) =>
    Buffer.concat([
      Buffer.from([0xff, 0xd8]),
      frameOf(width, height),
      Buffer.from([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]),
    ]);

  test.each([
    ["PNG", Buffer.concat([pngSignature, pngHeader(2 ** 31 - 1, 2 ** 31 - 1)])],
    ["PNG", Buffer.concat([pngSignature, pngHeader(65_536, 1)])],
    ["JPEG", jpegOf(65_535, 65_535)],
    ["GIF", gif(65_535, 65_535)],
    ["BMP", bmp(2 ** 31 - 1, 2 ** 31 - 1)],
    ["BMP", bmp(65_536, -1)],
    ["WebP", webp([webpExtended(2 ** 24, 2 ** 24, 2), webpFrame(0, 0, 1, 1, webpBitstream(pixel))])],
  ])("%s", async (_, file) => {
    expect(await outcome(file)).toBe("image_too_many_pixels");
  });

  test.each([
    ["PNG", Buffer.concat([pngSignature, pngHeader(0, 5)])],
    ["JPEG", jpegOf(0, 8)],
    ["GIF", gif(0, 3)],
    ["BMP", bmp(0, 4)],
    ["BMP of few bytes", bmp(7000, 7000)],
    ["GIF of few bytes", gif(7000, 7000)],
  ])("%s without pixels", async (_, file) => {
    expect(await outcome(file)).toBe("image_undecodable");
  });
});

test("changed and cut files of every format are read or refused with a ModelError, and never with anything else", async () => {
  const next = random(11);
  const types = ["jpeg", "png", "webp", "gif", "tiff", "avif"] as const;
  const files = new Map<ImageType, Uint8Array>(
    await Promise.all(types.map(async (type) => [type, await small.clone().toFormat(type).toBuffer()] as const)),
  );
  let [read, refused] = [0, 0];
  for (const file of files.values()) {
    for (let round = 0; round < 150; round++) {
      const bytes = Uint8Array.from(file.subarray(0, next() < 0.3 ? Math.ceil(next() * file.length) : file.length));
      for (let change = 0; change < 1 + next() * 6; change++) {
        // Mostly in the headers, where the structure is.
        const at = Math.floor(next() * (next() < 0.7 ? Math.min(bytes.length, 120) : bytes.length));
        bytes[at] = Math.floor(next() * 256);
      }
      if (imageTypeOf(bytes) === undefined) continue;
      const answer = await outcome(bytes);
      if (/^\d/.test(answer)) read++;
      else refused++;
    }
  }
  expect(read).toBeGreaterThan(20);
  expect(refused).toBeGreaterThan(100);
});

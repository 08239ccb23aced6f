import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { expect, test } from "vitest";
import { decodeImage } from "../src/image/decode.ts";
import {
  exifOfItself,
  exifPrefix,
  jpegSegment,
  orientationExif,
  pngChunk,
  webp,
  webpBitstream,
  webpChunk,
  webpExtended,
  withSegments,
  xmp,
} from "./image-files.ts";

// Two grey columns, dark and light: turned by orientation 6 they are two rows, the dark one on top.
const raw = { width: 32, height: 16, channels: 3 } as const;
const columns = sharp(
  new Uint8Array(32 * 16 * 3).map((_, at) => ((at / 3) % 32 < 16 ? 40 : 200)),
  { raw },
);
const jpeg = await columns.clone().jpeg().toBuffer();
const plainPng = await columns.clone().png().toBuffer();
const plainWebp = await columns.clone().webp({ lossless: true }).toBuffer();
const tiff = await columns.clone().withMetadata({ orientation: 6 }).tiff().toBuffer();

/** Chunks go between the header and the data. */
const pngWith = (...chunks: Uint8Array[]) =>
  Buffer.concat([plainPng.subarray(0, 33), ...chunks, plainPng.subarray(33)]);
const withEnd = (...chunks: Uint8Array[]) =>
  Buffer.concat([plainPng.subarray(0, -12), ...chunks, plainPng.subarray(-12)]);
const webpWith = (...chunks: Uint8Array[]) => webp([webpExtended(32, 16, 0x0c), webpBitstream(plainWebp), ...chunks]);
const text = (value: string) => Buffer.from(value, "latin1");
const xmpName = text("http://ns.adobe.com/xap/1.0/\0");
const block = Buffer.concat([exifPrefix, orientationExif(6)]);
const hex = text(`\nexif\n${String(block.length).padStart(8)}\n${block.toString("hex")}\n`);

async function sizeOf(file: Uint8Array): Promise<string> {
  const { width, height, rgb, warnings } = await decodeImage(file, { autoOrient: true });
  const applied = warnings.some(({ code }) => code === "orientation_applied");
  const [first, last] = [rgb[0] as number, rgb[rgb.length - 1] as number];
  return `${width}x${height}${applied ? " turned" : ""}${first < 100 && last > 150 ? "" : " wrongly"}`;
}

test.each([
  ["EXIF in a JPEG", withSegments(jpeg, [jpegSegment(0xe1, block)])],
  [
    "EXIF in a JPEG, little-endian",
    withSegments(jpeg, [jpegSegment(0xe1, Buffer.concat([exifPrefix, orientationExif(6, false)]))]),
  ],
  ["XMP in a JPEG", withSegments(jpeg, [jpegSegment(0xe1, Buffer.concat([xmpName, xmp(6)]))])],
  ["eXIf in a PNG", pngWith(pngChunk("eXIf", orientationExif(6)))],
  ["eXIf behind a PNG's data", withEnd(pngChunk("eXIf", orientationExif(6)))],
  ["XMP in a PNG", pngWith(pngChunk("iTXt", Buffer.concat([text("XML:com.adobe.xmp\0\0\0\0\0"), xmp(6)])))],
  [
    "packed XMP in a PNG",
    pngWith(pngChunk("iTXt", Buffer.concat([text("XML:com.adobe.xmp\0\x01\0en\0title\0"), deflateSync(xmp(6))]))),
  ],
  ["a raw profile in a PNG", pngWith(pngChunk("tEXt", Buffer.concat([text("Raw profile type exif\0"), hex])))],
  [
    "a packed raw profile in a PNG",
    pngWith(pngChunk("zTXt", Buffer.concat([text("Raw profile type exif\0\0"), deflateSync(hex)]))),
  ],
  ["EXIF in a WebP", webpWith(webpChunk("EXIF", orientationExif(6)))],
  ["EXIF in a WebP, with the prefix", webpWith(webpChunk("EXIF", block))],
  ["XMP in a WebP", webpWith(webpChunk("XMP ", xmp(6)))],
  ["the tag of a TIFF", tiff],
])("%s turns the image", async (_, file) => {
  expect(await sizeOf(file)).toBe("16x32 turned");
  const stored = await decodeImage(file, { autoOrient: false });
  expect([stored.width, stored.height]).toEqual([32, 16]);
  expect(stored.warnings).toEqual([]);
});

test("EXIF counts before XMP, even where it says that nothing is to be done", async () => {
  const both = (orientation: number) =>
    webpWith(webpChunk("EXIF", orientationExif(orientation)), webpChunk("XMP ", xmp(6)));
  expect(await sizeOf(both(1))).toBe("32x16");
  expect(await sizeOf(both(6))).toBe("16x32 turned");
});

test.each([
  ["is no orientation", orientationExif(9)],
  ["is cut off", orientationExif(6).subarray(0, 15)],
  ["is empty", Buffer.alloc(0)],
  ["points outside itself", Buffer.from("MM\0*\xff\xff\xff\xff", "latin1")],
  ["points to itself", exifOfItself(2000)],
  ["is noise", Buffer.from("orientation of the image")],
])("EXIF that %s leaves the image as it is", async (_, data) => {
  expect(await sizeOf(pngWith(pngChunk("eXIf", data)))).toBe("32x16");
  expect(await sizeOf(webpWith(webpChunk("EXIF", data)))).toBe("32x16");
  expect(await sizeOf(withSegments(jpeg, [jpegSegment(0xe1, Buffer.concat([exifPrefix, data]))]))).toBe("32x16");
});

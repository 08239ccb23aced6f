import { describe, expect, test } from "vitest";
import { ModelError } from "../src/errors.ts";
import { decodeImage } from "../src/image/decode.ts";
import { imageTypeOf } from "../src/image/type.ts";
import { png, pngChunk, pngHeader, pngSignature } from "./image-files.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");
const container = (...brands: string[]) => {
  const body = bytes(`ftyp${brands[0]}\0\0\0\0${brands.slice(1).join("")}`);
  return Buffer.concat([Buffer.from([0, 0, 0, body.length + 4]), body]);
};

async function refusal(file: Uint8Array): Promise<ModelError> {
  try {
    await decodeImage(file, { autoOrient: true });
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
  throw new Error("It was read.");
}

test.each([
  ["jpeg", bytes("\xff\xd8\xff\xe0")],
  ["png", pngSignature],
  ["webp", bytes("RIFF\x20\0\0\0WEBPVP8 ")],
  ["gif", bytes("GIF89a")],
  ["bmp", bytes("BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0")],
  ["tiff", bytes("MM\0*\0\0\0\x08")],
  ["tiff", bytes("II+\0\x08\0\0\0")],
  ["avif", container("avif", "mif1", "miaf")],
  ["avif", container("mif1", "avif")],
  ["heic", container("heic", "mif1")],
  ["heic", container("mif1", "heic", "miaf")],
])("%s is told by its first bytes", (type, file) => {
  expect(imageTypeOf(file)).toBe(type);
});

describe("a refusal names what the bytes are and the way out", () => {
  test.each([
    ["an SVG drawing", bytes('<svg xmlns="http://www.w3.org/2000/svg"/>'), "PNG"],
    ["an SVG drawing", bytes('\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<svg width="9"/>'), "PNG"],
    ["a PDF document", bytes("%PDF-1.7\n1 0 obj"), "each page"],
    ["a Photoshop document", bytes("8BPS\0\x01"), "export"],
    ["a Windows icon", bytes("\0\0\x01\0\x01\0\x20\x20"), "PNG"],
    ["a JPEG XL image", bytes("\xff\x0a\xfa\x1f"), "JPEG or PNG"],
    ["a JPEG XL image", bytes("\0\0\0\x0cJXL \r\n\x87\n"), "JPEG or PNG"],
    ["a JPEG 2000 image", bytes("\0\0\0\x0cjP  \r\n\x87\n"), "JPEG or PNG"],
    ["a camera's raw image", bytes("II*\0\x10\0\0\0CR\x02\0"), "develop"],
    ["a camera's raw image", container("crx ", "crx "), "develop"],
    ["an MP4 video", container("isom", "iso2", "mp41"), "frames"],
    ["a QuickTime video", container("qt  "), "frames"],
    ["a WebM or Matroska video", bytes("\x1aE\xdf\xa3\x01\0"), "frames"],
    ["an AVI video", bytes("RIFF\x10\0\0\0AVI LIST"), "frames"],
    ["a HEIF image of an unusual kind", container("mif1", "miaf"), "JPEG or PNG"],
    ["a portable bitmap", bytes("P6\n3 2\n255\n"), "PNG"],
    ["a DICOM image", Buffer.concat([Buffer.alloc(128), bytes("DICM")]), "PNG"],
    ["a web page", bytes("\n<!DOCTYPE html><html>"), "address"],
    ["a data URL", bytes("data:image/png;base64,iVBO"), "decode"],
    ["base64 text", bytes("iVBORw0KGgoAAAANSUhEUgAA"), "decode"],
    ["text", bytes('{"error": "not found"}'), "own bytes"],
    ["a ZIP archive", bytes("PK\x03\x04\x14\0"), "one by one"],
  ])("%s", async (name, file, wayOut) => {
    const { code, message } = await refusal(file);
    expect(code).toBe("image_type_unsupported");
    expect(message).toContain(`This is ${name}`);
    expect(message.split(". ")[0]).toContain(wayOut);
  });

  test("bytes that are nothing known are said to be that", async () => {
    const { code, message } = await refusal(Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]));
    expect(code).toBe("image_type_unsupported");
    expect(message).toContain("no image of a known format");
    expect(message).toContain("HEIC");
  });

  test("a PNG packed by Xcode is named as such", async () => {
    const file = Buffer.concat([pngSignature, pngChunk("CgBI", Buffer.from([0x50, 0, 0x20, 2])), pngHeader(4, 4)]);
    const { code, message } = await refusal(file);
    expect(code).toBe("image_type_unsupported");
    expect(message).toContain("CgBI");
  });

  test("a JPEG of 12 bits is named as such", async () => {
    const frame = Buffer.from([0xff, 0xc1, 0, 11, 12, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    const scan = Buffer.from([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    const { code, message } = await refusal(Buffer.concat([bytes("\xff\xd8"), frame, scan, bytes("\xff\xd9")]));
    expect(code).toBe("image_type_unsupported");
    expect(message).toContain("12 bits");
  });
});

test("a file is what its bytes are, also behind trailing bytes of something else", async () => {
  const file = Buffer.concat([png(5, 4), bytes("PK\x03\x04 an archive")]);
  expect(await decodeImage(file, { autoOrient: true })).toMatchObject({ width: 5, height: 4, warnings: [] });
});

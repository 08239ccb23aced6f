import { ModelError } from "../errors.ts";

/** The formats that are read. */
export type ImageType = "jpeg" | "png" | "webp" | "gif" | "bmp" | "tiff" | "avif" | "heic";

const [asPng, asJpeg] = ["save it as PNG", "convert it to JPEG or PNG"] as const;

interface Kind {
  /** Set for a format that is read. */
  readonly type?: ImageType;
  /** With its article, as in "This is … ". */
  readonly name: string;
  /** For a format that is not read: what whoever sent it can do. */
  readonly wayOut?: string;
}

const bmp: Kind = { type: "bmp", name: "a BMP image" };
const bmpHeaderBytes = [12, 40, 52, 56, 64, 108, 124];
const jpegXl: Kind = { name: "a JPEG XL image", wayOut: asJpeg };
const jpeg2000: Kind = { name: "a JPEG 2000 image", wayOut: asJpeg };
const rawImage: Kind = { name: "a camera's raw image", wayOut: "develop it and send the JPEG" };
const svg: Kind = { name: "an SVG drawing", wayOut: "render it to PNG" };
const text: Kind = { name: "text, not an image", wayOut: "send the image's own bytes" };
const webPage: Kind = { name: "a web page, not an image", wayOut: "check the address it came from" };
const base64: Kind = { name: "base64 text, not an image's bytes", wayOut: "decode it first" };
const video = (name: string): Kind => ({ name: `${name}, not an image`, wayOut: "send one of its frames as JPEG" });

// Files are told apart by their first bytes alone, whatever their name or declared type. "." stands for any byte.
const signatures: readonly (readonly [start: string, kind: Kind])[] = [
  ["\xff\xd8\xff", { type: "jpeg", name: "a JPEG image" }],
  ["\x89PNG\r\n\x1a\n", { type: "png", name: "a PNG image" }],
  ["RIFF....WEBP", { type: "webp", name: "a WebP image" }],
  ["GIF87a", { type: "gif", name: "a GIF image" }],
  ["GIF89a", { type: "gif", name: "a GIF image" }],
  ["II*\0....CR", rawImage],
  ["II*\0", { type: "tiff", name: "a TIFF image" }],
  ["MM\0*", { type: "tiff", name: "a TIFF image" }],
  ["II+\0", { type: "tiff", name: "a TIFF image" }],
  ["MM\0+", { type: "tiff", name: "a TIFF image" }],
  ["\xff\x0a", jpegXl],
  ["\0\0\0\x0cJXL \r\n\x87\n", jpegXl],
  ["\xff\x4f\xff\x51", jpeg2000],
  ["\0\0\0\x0cjP  \r\n\x87\n", jpeg2000],
  ["\xff\xd8", { name: "a JPEG image whose start is damaged", wayOut: "send it again" }],
  ["II\xbc", { name: "a JPEG XR image", wayOut: asJpeg }],
  ["8BPS", { name: "a Photoshop document (PSD)", wayOut: "export it as PNG" }],
  ["gimp xcf", { name: "a GIMP document (XCF)", wayOut: "export it as PNG" }],
  ["\0\0\x01\0", { name: "a Windows icon (ICO)", wayOut: asPng }],
  ["\0\0\x02\0", { name: "a Windows cursor (CUR)", wayOut: asPng }],
  ["icns", { name: "an Apple icon (ICNS)", wayOut: asPng }],
  ["DDS ", { name: "a DirectDraw texture (DDS)", wayOut: asPng }],
  ["v/1\x01", { name: "an OpenEXR image", wayOut: asPng }],
  ["#?R", { name: "a Radiance HDR image", wayOut: asPng }],
  ["SIMPLE  =", { name: "a FITS image", wayOut: asPng }],
  ["qoif", { name: "a QOI image", wayOut: asPng }],
  ["FUJIFILMCCD-RAW", rawImage],
  ["IIRO", rawImage],
  ["IIU\0", rawImage],
  ["\0MRM", rawImage],
  ["FOVb", rawImage],
  ["%PDF-", { name: "a PDF document", wayOut: "send each page as PNG or JPEG" }],
  ["%!PS", { name: "a PostScript document", wayOut: "render it to PNG" }],
  ["\xc5\xd0\xd3\xc6", { name: "a PostScript document", wayOut: "render it to PNG" }],
  ["PK\x03\x04", { name: "a ZIP archive or an office document", wayOut: "send the images in it one by one" }],
  ["\x1f\x8b", { name: "a gzip file", wayOut: "unpack it first" }],
  ["RIFF....AVI ", video("an AVI video")],
  ["\x1a\x45\xdf\xa3", video("a WebM or Matroska video")],
  ["\0\0\x01\xba", video("an MPEG video")],
  ["\0\0\x01\xb3", video("an MPEG video")],
  ["OggS", video("an Ogg file")],
  ["FLV", video("a Flash video")],
  ["\x30\x26\xb2\x75\x8e\x66\xcf\x11", video("a Windows Media file")],
  ["RIFF....WAVE", { name: "a sound, not an image", wayOut: "send an image" }],
  ["data:", { name: "a data URL, not an image's bytes", wayOut: "decode it first" }],
  ["iVBORw0KGgo", base64],
  ["/9j/", base64],
  ["UklGR", base64],
  ["R0lGOD", base64],
];

// The brands of ISO's container that say what is in it, in this order: a file may name several.
const brands: readonly (readonly [pattern: RegExp, kind: Kind])[] = [
  [/^(avif|avis)$/, { type: "avif", name: "an AVIF image" }],
  [/^(heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/, { type: "heic", name: "a HEIC image (iPhone)" }],
  [/^crx $/, rawImage],
  [/^(mif1|mif2|msf1|miaf|jpeg|avci|avcs|j2ki|j2is)$/, { name: "a HEIF image of an unusual kind", wayOut: asJpeg }],
  [/^qt {2}$/, video("a QuickTime video")],
  [/^M4A /, { name: "a sound, not an image", wayOut: "send an image" }],
  [/^/, video("an MP4 video")],
];

// A container names a handful of brands.
const brandsMax = 32;
// Declarations and comments in front of the first element are shorter than that.
const textBytesMax = 1024;

function ofContainer(start: string): Kind | undefined {
  if (start.slice(4, 8) !== "ftyp") return undefined;
  const length = (start.charCodeAt(2) << 8) | start.charCodeAt(3);
  const named = [start.slice(8, 12)];
  for (let at = 16; at + 4 <= Math.min(length, start.length, 4 * brandsMax); at += 4) {
    named.push(start.slice(at, at + 4));
  }
  // The first brand is the main one. That of a generic HEIF says less than what it is compatible with.
  const known = (brand: string) => brands.find(([pattern]) => pattern.test(brand))?.[1];
  const main = known(named[0] as string);
  return main?.type === undefined ? (named.map(known).find((kind) => kind?.type !== undefined) ?? main) : main;
}

/** A portable bitmap, "P1" to "P6", and the PAM and PFM beside it: their start is short, so a white space must follow. */
const isPortable = (start: string) => /^(P[1-7]|P[fF])\s/.test(start);

/** A text's first element, past what may stand before it. */
function firstElement(start: string): string {
  let line = start.replace(/^\xef\xbb\xbf/, "").trimStart();
  for (const [open, close] of preliminaries) {
    while (line.startsWith(open) && line.includes(close)) {
      line = line.slice(line.indexOf(close, open.length) + close.length).trimStart();
    }
  }
  return line;
}

const preliminaries = [
  ["<?xml", "?>"],
  ["<!--", "-->"],
  ["<!DOCTYPE svg", ">"],
] as const;

function ofText(start: string): Kind | undefined {
  const line = firstElement(start);
  if (/^<svg[\s>]/i.test(line)) return svg;
  if (/^<(!doctype html|html|head|body)/i.test(line)) return webPage;
  return line !== "" && /^[\t\n\r\x20-\x7e\x80-\xff]+$/.test(line) ? text : undefined;
}

/** What the bytes are; undefined when they are nothing known. */
function recognise(bytes: Uint8Array): Kind | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, textBytesMax)).toString("latin1");
  const begins = (signature: string) =>
    start.length >= signature.length && [...signature].every((char, index) => char === "." || char === start[index]);
  // "BM" alone would take in too much text: the header's own size must follow.
  if (begins("BM.............\0\0\0") && bmpHeaderBytes.includes(bytes[14] as number)) return bmp;
  const found = signatures.find(([signature]) => begins(signature))?.[1];
  if (found !== undefined) return found;
  if (isPortable(start)) return { name: "a portable bitmap (PNM)", wayOut: asPng };
  if (start.slice(128, 132) === "DICM") return { name: "a DICOM image", wayOut: asPng };
  return ofContainer(start) ?? ofText(start);
}

/** The format of an image that is read, from its first bytes, whatever its name or declared type; else undefined. */
export function imageTypeOf(bytes: Uint8Array): ImageType | undefined {
  return recognise(bytes)?.type;
}

/** The formats' names, for messages. */
export const formatNames: Readonly<Record<ImageType, string>> = {
  jpeg: "JPEG",
  png: "PNG",
  webp: "WebP",
  gif: "GIF",
  bmp: "BMP",
  tiff: "TIFF",
  avif: "AVIF",
  heic: "HEIC",
};

/** As imageTypeOf; throws ModelError image_type_unsupported, which names what the bytes are and the way out. */
export function readTypeOf(bytes: Uint8Array): ImageType {
  const kind = recognise(bytes);
  if (kind?.type !== undefined) return kind.type;
  const what = kind === undefined ? "This is no image of a known format" : `This is ${kind.name}`;
  const wayOut = kind?.wayOut === undefined ? "" : `: ${kind.wayOut}`;
  throw new ModelError(
    "image_type_unsupported",
    `${what}${wayOut}. Read are ${Object.values(formatNames).join(", ")}.`,
  );
}

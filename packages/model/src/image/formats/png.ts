import { constants, inflateSync } from "node:zlib";
import { ModelError } from "../../errors.ts";
import { ByteReader, damaged } from "../byte-reader.ts";
import { orientationOf } from "../orientation.ts";
import { profileWarnings } from "../profile.ts";
import { warning } from "../warnings.ts";
import type { Walked } from "./walked.ts";

// Above the number of IDAT chunks of 16 MB at 1 kB, and few enough to be passed over in milliseconds.
const chunksMax = 20_000;
// An EXIF block with a thumbnail takes 64 kB, and twice that in hexadecimal; a profile of a printer some hundred kB.
const inflatedBytesMax = 512 * 1024;

const name = "PNG";
const signatureBytes = 8;
const headBytes = 8;
const checkBytes = 4;
const end = Buffer.from("\0\0\0\0IEND\xae\x42\x60\x82", "latin1");
const [colourGrey, colourPalette, colourGreyAlpha, colourRgbAlpha] = [0, 3, 4, 6];

/** What ancillary chunks say of the orientation; the last of a kind counts. */
interface Ancillary {
  exif?: Uint8Array;
  xmp?: Uint8Array;
  rawProfile?: { readonly data: Uint8Array; readonly packed: boolean };
  profile?: Uint8Array;
  frames: number;
  transparency: boolean;
}

/** Keeps a PNG's header, palette, transparency and image data. The orientation is read from eXIf, or from text chunks. */
export function walkPng(bytes: Uint8Array): Walked {
  const reader = new ByteReader(bytes, name);
  const parts: Uint8Array[] = [bytes.subarray(0, signatureBytes)];
  const found: Ancillary = { frames: 1, transparency: false };
  let header: number | undefined;
  // Where the run of IDAT chunks begins, until it has ended.
  let run: number | undefined;
  let ended = false;
  let at = signatureBytes;
  for (let chunks = 0; at + headBytes <= bytes.length; chunks++) {
    if (chunks > chunksMax) {
      if (ended) break;
      throw damaged(name);
    }
    const length = reader.u32(at);
    const type = reader.text(at + 4, 4);
    const next = at + headBytes + length + checkBytes;
    if (type === "IDAT" && !ended) {
      run ??= at;
      at = next;
      continue;
    }
    if (run !== undefined && !ended) {
      parts.push(bytes.subarray(run, at));
      ended = true;
    }
    if (type === "IEND" || (ended && next > bytes.length)) break;
    if (type === "CgBI") {
      throw new ModelError(
        "image_type_unsupported",
        "This is a PNG image as Xcode packs it into apps (CgBI), not a regular one: send the original, or undo it with pngcrush -revert-iphone-optimizations.",
      );
    }
    if (type === "IHDR") header ??= at + headBytes;
    const isKept = type === "IHDR" || type === "PLTE" || type === "tRNS";
    // The size counts even where the header is all there is of the file.
    if (isKept && !ended) parts.push(bytes.subarray(at, next));
    else if (next <= bytes.length) ancillary(type, reader.slice(at + headBytes, length), found);
    if (type === "tRNS") found.transparency = true;
    at = next;
  }
  if (header === undefined) throw damaged(name);
  if (run !== undefined && !ended) parts.push(bytes.subarray(run, Math.min(at, bytes.length)));
  parts.push(end);
  const [width, height] = [reader.u32(header), reader.u32(header + 4)];
  const [depth, colour] = [reader.u8(header + 8), reader.u8(header + 9)];
  if (width === 0 || height === 0) throw damaged(name);
  const isGrey16 = depth === 16 && colour === colourGrey;
  const warnings = profileWarnings(found.profile);
  if (found.frames > 1) warnings.push(warning("later_frames_ignored"));
  return {
    width,
    height,
    orientation: orientationOf({ exif: found.exif ?? exifOfRawProfile(found.rawProfile), xmp: found.xmp }),
    parts,
    samples: isGrey16 ? "grey16" : "rgb",
    alpha:
      colour === colourGreyAlpha ||
      colour === colourRgbAlpha ||
      (found.transparency && !isGrey16 && (colour === colourPalette || colour < colourPalette)),
    warnings,
  };
}

function ancillary(type: string, data: Uint8Array, found: Ancillary): void {
  if (type === "eXIf") found.exif = data;
  else if (type === "acTL") found.frames = new ByteReader(data, name).u32(0);
  else if (type === "iCCP") {
    const profile = inflateBounded(data.subarray(data.indexOf(0) + 2));
    if (profile) found.profile = profile;
  } else if (type === "tEXt" || type === "zTXt" || type === "iTXt") {
    const keyEnd = data.indexOf(0);
    // A keyword has up to 79 characters.
    const key = keyEnd < 0 || keyEnd > 79 ? "" : Buffer.from(data.subarray(0, keyEnd)).toString("latin1");
    if (key === "XML:com.adobe.xmp" && type === "iTXt") {
      const packed = data[keyEnd + 1] === 1;
      // Behind the method: a language and a translated keyword, each ending in a zero.
      const textAt = data.indexOf(0, data.indexOf(0, keyEnd + 3) + 1) + 1;
      const text = packed ? inflateBounded(data.subarray(textAt)) : data.subarray(textAt);
      if (text) found.xmp = text;
    } else if ((key === "Raw profile type exif" || key === "Raw profile type APP1") && type !== "iTXt") {
      const packed = type === "zTXt";
      found.rawProfile = { data: data.subarray(keyEnd + (packed ? 2 : 1)), packed };
    }
  }
}

/** Inflates as much as the limit allows, or to where the data ends; undefined where it is more or damaged. */
function inflateBounded(data: Uint8Array): Uint8Array | undefined {
  try {
    return inflateSync(data.subarray(0, inflatedBytesMax), {
      maxOutputLength: inflatedBytesMax,
      finishFlush: constants.Z_SYNC_FLUSH,
    });
  } catch {
    return undefined;
  }
}

/** ImageMagick's text form of EXIF: a blank line, the kind, the length, and the bytes in hexadecimal. */
function exifOfRawProfile(raw: Ancillary["rawProfile"]): Uint8Array | undefined {
  const data = raw?.packed ? inflateBounded(raw.data) : raw?.data;
  if (data === undefined) return undefined;
  const lines = Buffer.from(data.subarray(0, inflatedBytesMax)).toString("latin1").split("\n");
  return Buffer.from(lines.slice(3).join(""), "hex");
}

import { ModelError } from "../../errors.ts";
import { ByteReader, damaged } from "../byte-reader.ts";
import { orientationOf } from "../orientation.ts";
import { profileWarnings } from "../profile.ts";
import { warning } from "../warnings.ts";
import type { Walked } from "./walked.ts";

// A header of 16 MB in full segments has 256.
const segmentsMax = 4096;
// Every scan of a progressive JPEG is decoded over all pixels. Encoders write about ten.
const scansMax = 100;

const name = "JPEG";
const startOfScan = Buffer.from([0xff, 0xda]);
const startOfImage = Buffer.from([0xff, 0xd8]);
// Adobe's marker with "no transform": version 100, no flags. It says that inks are stored inverted.
const adobeOfPlainInks = Buffer.from("\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0", "latin1");

/** Markers that stand alone, without a length: TEM, RST0 to RST7, a repeated SOI. */
const standsAlone = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
/** All kinds of SOF: C4, C8 and CC lie among them and are something else. */
const startsFrame = (marker: number) =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
/** DHT, DAC, DQT, DNL, DRI. */
const isTable = (marker: number) =>
  marker === 0xc4 || marker === 0xcc || marker === 0xdb || marker === 0xdc || marker === 0xdd;

/**
 * Keeps a JPEG's tables, frame and scans, and of its application segments the two that decide how colours were stored,
 * JFIF's and Adobe's. Everything behind the first scan's marker stays as it is.
 */
export function walkJpeg(bytes: Uint8Array): Walked {
  const reader = new ByteReader(bytes, name);
  const parts: Uint8Array[] = [startOfImage];
  let frame: { marker: number; precision: number; height: number; width: number; components: number } | undefined;
  let [exif, xmp, profile]: (Uint8Array | undefined)[] = [];
  let saysAdobe = false;
  let at = 2;
  for (let segments = 0; ; segments++) {
    if (segments > segmentsMax) throw damaged(name);
    // Like the decoder, this passes over anything that is no marker.
    at = bytes.indexOf(0xff, at);
    if (at < 0) throw damaged(name);
    while (reader.u8(at) === 0xff) at++;
    const marker = reader.u8(at++);
    if (marker === 0 || standsAlone(marker)) continue;
    if (marker === 0xd9) throw damaged(name);
    if (marker === 0xda) break;
    const length = reader.u16(at);
    if (length < 2) throw damaged(name);
    const segment = reader.slice(at - 2, length + 2);
    const says = (start: string) =>
      Buffer.from(segment.buffer, segment.byteOffset + 4, start.length).equals(Buffer.from(start, "latin1")) &&
      segment.length >= 4 + start.length;
    if (startsFrame(marker)) {
      frame ??= {
        marker,
        precision: reader.u8(at + 2),
        height: reader.u16(at + 3),
        width: reader.u16(at + 5),
        components: reader.u8(at + 7),
      };
      parts.push(segment);
    } else if (isTable(marker)) {
      parts.push(segment);
    } else if (marker === 0xe0 && length >= 16 && says("JFIF\0")) {
      // Without the thumbnail that may follow.
      parts.push(Buffer.from([0xff, 0xe0, 0, 16]), segment.subarray(4, 18));
    } else if (marker === 0xee && length >= 14 && says("Adobe")) {
      saysAdobe = true;
      parts.push(Buffer.from([0xff, 0xee, 0, 14]), segment.subarray(4, 16));
    } else if (marker === 0xe1 && says("Exif\0")) {
      exif ??= segment.subarray(4);
    } else if (marker === 0xe1 && says("http://ns.adobe.com/xap/1.0/\0")) {
      xmp ??= segment.subarray(4);
    } else if (marker === 0xe2 && says("ICC_PROFILE\0")) {
      profile ??= segment.subarray(18);
    }
    at += length;
  }
  if (frame === undefined) throw damaged(name);
  const { marker, precision, width, height, components } = frame;
  if (precision !== 8) {
    throw new ModelError(
      "image_type_unsupported",
      `This is a JPEG image of ${precision} bits a channel, as medical and scientific devices write: save it with 8 bits.`,
    );
  }
  if (marker === 0xc3 || marker === 0xc7 || marker === 0xcb || marker === 0xcf) {
    throw new ModelError("image_type_unsupported", "This is a lossless JPEG image: save it as PNG.");
  }
  if (width === 0 || height === 0 || (components !== 1 && components !== 3 && components !== 4)) throw damaged(name);
  // One scan of all components ends the image, whatever follows.
  const baseline = marker === 0xc0 || marker === 0xc1;
  const scans = bytes.subarray(at - 2);
  if (!(baseline && reader.u8(at + 2) === components) && countScans(scans) > scansMax) {
    throw new ModelError(
      "image_undecodable",
      `The JPEG image has more than ${scansMax} progressive scans: save it with fewer.`,
    );
  }
  // Pillow, and all who write such files, invert inks with or without the marker; the decoder only with it.
  if (components === 4 && !saysAdobe) parts.push(adobeOfPlainInks);
  parts.push(scans);
  return {
    width,
    height,
    orientation: orientationOf({ exif, xmp }),
    parts,
    samples: components === 4 ? "cmyk" : "rgb",
    alpha: false,
    warnings: components === 4 ? [warning("cmyk_converted")] : profileWarnings(profile),
  };
}

/** The scans up to the image's end, or one more than the limit. `bytes` begins with the first. */
function countScans(bytes: Uint8Array): number {
  // Within a scan the marker cannot occur, so looking for it everywhere counts too many at the most, and is quick.
  const rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let count = 0;
  for (let at = 0; at >= 0 && count <= scansMax; at = rest.indexOf(startOfScan, at + 2)) count++;
  if (count <= scansMax) return count;
  // Behind its end, a phone may have written a video, or an editor other images.
  count = 0;
  for (let at = 0; at + 3 < bytes.length && count <= scansMax; ) {
    const marker = bytes[at + 1] as number;
    if (bytes[at] !== 0xff || marker === 0 || marker === 0xff) at++;
    else if (marker === 0xd9) break;
    else if (standsAlone(marker)) at += 2;
    else {
      if (marker === 0xda) count++;
      at += 2 + ((bytes[at + 2] as number) << 8) + (bytes[at + 3] as number);
    }
  }
  return count;
}

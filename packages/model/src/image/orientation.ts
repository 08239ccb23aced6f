import { ByteReader } from "./byte-reader.ts";

/** EXIF's: how the stored rows must be turned or mirrored to be upright; 1 is as they are. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

const orientationTag = 0x0112;
const [typeShort, typeLong] = [3, 4];

const valid = (value: number): Orientation => (value >= 1 && value <= 8 ? (value as Orientation) : 1);

const ascii = (text: string) => Buffer.from(text, "latin1");
// A packet stands in a segment of 64 kB in a JPEG; elsewhere it may hold an editor's history, but not in front.
const xmpBytesMax = 1024 * 1024;
const exifPrefix = ascii("Exif\0\0");

/**
 * The orientation in an EXIF block, with or without its "Exif" prefix; undefined where the block does not give one.
 * It looks at the entries of the first directory once and follows no other, so that a block which points to itself is
 * read as quickly as any. Throws nothing.
 */
function orientationOfExif(block: Uint8Array): Orientation | undefined {
  const bytes = exifPrefix.equals(block.subarray(0, exifPrefix.length)) ? block.subarray(exifPrefix.length) : block;
  const order = bytes.length < 8 ? "" : String.fromCharCode(bytes[0] as number, bytes[1] as number);
  if (order !== "II" && order !== "MM") return undefined;
  const reader = new ByteReader(bytes, "EXIF", order === "II");
  const directory = reader.u32(4);
  if (directory + 2 > bytes.length) return undefined;
  const count = Math.min(reader.u16(directory), Math.floor((bytes.length - directory - 2) / 12));
  for (let index = 0; index < count; index++) {
    const entry = directory + 2 + index * 12;
    if (reader.u16(entry) !== orientationTag) continue;
    const type = reader.u16(entry + 2);
    if (type === typeShort) return valid(reader.u16(entry + 8));
    if (type === typeLong) return valid(reader.u32(entry + 8));
    return 1;
  }
  return undefined;
}

/** The first `tiff:Orientation="6"` or `<tiff:Orientation>6` of an XMP packet. It is searched for, not parsed. */
function orientationOfXmp(packet: Uint8Array): Orientation | undefined {
  const bytes = Buffer.from(packet.buffer, packet.byteOffset, Math.min(packet.length, xmpBytesMax));
  const name = "tiff:Orientation";
  for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + name.length)) {
    const after = bytes.toString("latin1", at + name.length, at + name.length + 3);
    const value = /^(?:="|>)([0-9])/.exec(after)?.[1];
    if (value !== undefined) return valid(Number(value));
  }
  return undefined;
}

/** A file's orientation from its EXIF block or, where that says nothing, from its XMP packet. Throws nothing. */
export function orientationOf(found: {
  readonly exif?: Uint8Array | undefined;
  readonly xmp?: Uint8Array | undefined;
}): Orientation {
  const exif = found.exif && orientationOfExif(found.exif);
  return exif ?? (found.xmp && orientationOfXmp(found.xmp)) ?? 1;
}

/** Each orientation as a mirroring of the columns followed by a turn clockwise, in degrees. */
export const turns: Readonly<Record<Orientation, { readonly mirror: boolean; readonly degrees: 0 | 90 | 180 | 270 }>> =
  {
    1: { mirror: false, degrees: 0 },
    2: { mirror: true, degrees: 0 },
    3: { mirror: false, degrees: 180 },
    4: { mirror: true, degrees: 180 },
    5: { mirror: true, degrees: 270 },
    6: { mirror: false, degrees: 90 },
    7: { mirror: true, degrees: 90 },
    8: { mirror: false, degrees: 270 },
  };

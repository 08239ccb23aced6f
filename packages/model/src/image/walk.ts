import { walkHeif } from "./formats/heif.ts";
import { walkJpeg } from "./formats/jpeg.ts";
import { walkPng } from "./formats/png.ts";
import { walkTiff } from "./formats/tiff.ts";
import type { Walked } from "./formats/walked.ts";
import { walkWebp } from "./formats/webp.ts";
import type { ImageType } from "./type.ts";

/** GIF and BMP need no walk, because their whole readers are our own. */
export type WalkedType = Exclude<ImageType, "bmp" | "gif">;

const walks: Readonly<Record<WalkedType, (bytes: Uint8Array) => Walked>> = {
  jpeg: walkJpeg,
  png: walkPng,
  webp: walkWebp,
  tiff: walkTiff,
  avif: (bytes) => walkHeif(bytes, "avif"),
  heic: (bytes) => walkHeif(bytes, "heic"),
};

/**
 * Reads the structure of an image file before any decoder does: its size, its orientation, and a file of the first
 * image alone, so that no parser of metadata or later frames ever sees what a stranger wrote there.
 * Throws ModelError image_undecodable or image_type_unsupported.
 */
export function walk(type: WalkedType, bytes: Uint8Array): Walked {
  return walks[type](bytes);
}

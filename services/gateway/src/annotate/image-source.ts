import { Fault } from "@florence/service";
import { z } from "zod";
import { imageTooLarge } from "../http/body.ts";
import type { HeldBytesAccount } from "../http/held-bytes.ts";
import type { ImageData } from "./image-data.ts";

/** Where a call's image comes from. */
export type ImageSource =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "id"; readonly id: string };

/**
 * Fetches an image of at most `bytesMax` bytes, charging them to the account as they arrive.
 * Throws `url_forbidden`, `url_unreachable`, `image_too_large` or `overloaded`.
 */
export type UrlFetch = (
  url: string,
  bytesMax: number,
  account: HeldBytesAccount,
  signal: AbortSignal,
) => Promise<Uint8Array<ArrayBuffer>>;

/** `image` of a JSON body. Exactly one of the three names the image. */
export const imageSchema = z.strictObject({
  data: z.string().optional(),
  // Longer addresses are refused by most servers.
  url: z.string().max(4096).optional(),
  id: z.string().optional(),
});

/** `data` has what `image.data` holds. Throws `image_missing`, `body_invalid` or `image_too_large`. */
export function toImageSource(
  image: z.infer<typeof imageSchema>,
  data: ImageData,
  uploadBytesMax: number,
): ImageSource {
  const given = Object.values(image).filter((value) => value !== undefined).length;
  if (given === 0) throw imageMissing();
  if (given > 1) throw new Fault("body_invalid", "image: give one of data, url and id, not several.");
  if (image.url !== undefined) return { kind: "url", url: image.url };
  if (image.id !== undefined) return { kind: "id", id: image.id };
  return bytesSource(data.bytes, uploadBytesMax);
}

/** Throws `image_missing` for no bytes and `image_too_large` for too many. */
export function bytesSource(bytes: Uint8Array<ArrayBuffer>, uploadBytesMax: number): ImageSource {
  if (bytes.length === 0) throw imageMissing();
  if (bytes.length > uploadBytesMax) throw imageTooLarge(uploadBytesMax);
  return { kind: "bytes", bytes };
}

export function imageMissing(): Fault {
  return new Fault("image_missing", "The call holds no image.");
}

import { ModelError } from "../../errors.ts";
import { damaged } from "../byte-reader.ts";
import type { Size } from "../pixels.ts";

/** The little that is used of libheif-js, whose own types name the C library. */
interface HeifImage {
  get_width(): number;
  get_height(): number;
  is_primary(): boolean;
  display(target: HeifPixels, done: (filled: HeifPixels | null) => void): void;
}
interface HeifPixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}
interface LibHeif {
  HeifDecoder: new () => { decode(bytes: Uint8Array): HeifImage[] };
}

// A variable, because the package has no types that fit how it is loaded.
const library: string = "libheif-js/libheif-wasm/libheif-bundle.js";

/**
 * libheif as WebAssembly, anew for each image: its memory never shrinks, and one that failed is not to be trusted.
 * The native decoder comes without HEVC, whose patents it leaves alone; this package is optional, is loaded when the
 * first HEIC image comes, and can be left out of an installation.
 */
async function load(): Promise<LibHeif> {
  const loaded: { readonly default: () => LibHeif } = await import(library).catch((cause: unknown) => {
    throw new ModelError(
      "image_type_unsupported",
      "This is a HEIC image (iPhone), and this installation has no decoder for it (libheif-js): convert it to JPEG, or set the camera to Most Compatible.",
      { cause },
    );
  });
  return loaded.default();
}

/**
 * [height, width, 4] of the primary image, which must have the given size. Keeps this thread busy while it decodes.
 * Throws ModelError image_undecodable, or image_type_unsupported without the optional package.
 */
export async function decodeHeic(file: Uint8Array, { width, height }: Size): Promise<Uint8Array> {
  const { HeifDecoder } = await load();
  const target: HeifPixels = { data: new Uint8ClampedArray(width * height * 4), width, height };
  try {
    const image = new HeifDecoder().decode(file).find((candidate) => candidate.is_primary());
    if (image?.get_width() !== width || image.get_height() !== height) throw damaged("HEIC");
    const filled = await new Promise<HeifPixels | null>((resolve) => image.display(target, resolve));
    if (filled === null) throw damaged("HEIC");
    return new Uint8Array(target.data.buffer);
  } catch (error) {
    // Beside its own errors, WebAssembly that runs out of memory throws what it likes.
    throw error instanceof ModelError ? error : damaged("HEIC", error);
  }
}

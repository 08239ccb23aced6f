import { ModelError } from "../../errors.ts";
import { damaged } from "../byte-reader.ts";
import type { Size } from "../pixels.ts";

/** The little that is used of libheif-js: its bindings of the C library. What its own wrapper does it also prints. */
interface LibHeif {
  heif_context_alloc(): object;
  heif_context_read_from_memory(context: object, bytes: Uint8Array): HeifError;
  heif_js_context_get_primary_image_handle(context: object): object & Partial<HeifError>;
  heif_image_handle_get_width(handle: object): number;
  heif_image_handle_get_height(handle: object): number;
  heif_js_decode_image2(handle: object, colours: unknown, chroma: unknown): HeifDecoded & Partial<HeifError>;
  readonly heif_error_code: { readonly heif_error_Ok: unknown };
  readonly heif_colorspace: { readonly heif_colorspace_RGB: unknown };
  readonly heif_chroma: { readonly heif_chroma_interleaved_RGBA: unknown };
}
interface HeifError {
  readonly code: unknown;
  readonly message: string;
}
interface HeifDecoded {
  readonly channels?: readonly { readonly width: number; readonly stride: number; readonly data: Uint8Array }[];
}

// A variable, because the package has no types that fit how it is loaded.
const packageName: string = "libheif-js/libheif-wasm/libheif-bundle.js";

/**
 * libheif as WebAssembly, anew for each image: its memory never shrinks, and one that failed is not to be trusted.
 * The native decoder comes without HEVC, whose patents it leaves alone; this package is optional, is loaded when the
 * first HEIC image comes, and can be left out of an installation.
 */
async function load(): Promise<LibHeif> {
  const loaded: { readonly default: (options: object) => LibHeif } = await import(packageName).catch(
    (cause: unknown) => {
      throw new ModelError(
        "image_type_unsupported",
        "This is a HEIC image (iPhone), and this installation has no decoder for it (libheif-js): convert it to JPEG, or set the camera to Most Compatible.",
        { cause },
      );
    },
  );
  return loaded.default({ print: () => {}, printErr: () => {} });
}

/**
 * [height, width, 4] of the primary image, which must have the given size. Keeps this thread busy while it decodes.
 * Throws ModelError image_undecodable, or image_type_unsupported without the optional package.
 */
export async function decodeHeic(file: Uint8Array, { width, height }: Size): Promise<Uint8Array> {
  const library = await load();
  try {
    const context = library.heif_context_alloc();
    const { code, message } = library.heif_context_read_from_memory(context, file);
    if (code !== library.heif_error_code.heif_error_Ok) throw new Error(message);
    const handle = library.heif_js_context_get_primary_image_handle(context);
    if (handle.code !== undefined) throw new Error(handle.message);
    const size = [library.heif_image_handle_get_width(handle), library.heif_image_handle_get_height(handle)];
    if (size[0] !== width || size[1] !== height) throw new RangeError(`${size} pixels are not ${width},${height}.`);
    const { heif_colorspace_RGB: colours } = library.heif_colorspace;
    const decoded = library.heif_js_decode_image2(handle, colours, library.heif_chroma.heif_chroma_interleaved_RGBA);
    const channel = decoded.channels?.[0];
    if (channel === undefined) throw new Error(decoded.message);
    const rgba = new Uint8Array(width * height * 4);
    for (let y = 0; y < height; y++) {
      rgba.set(channel.data.subarray(y * channel.stride, y * channel.stride + width * 4), y * width * 4);
    }
    return rgba;
  } catch (error) {
    // Beside its own errors, WebAssembly that runs out of memory throws what it likes.
    throw damaged("HEIC", error);
  }
}

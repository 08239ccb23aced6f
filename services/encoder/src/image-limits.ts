const MiB = 1024 * 1024;

/** What opening an image may take before its process is killed. */
export interface ImageLimits {
  readonly timeMsMax: number;
  /** Of the whole process, resident. */
  readonly memoryBytesMax: number;
}

// A process that starts anew and reads a small file takes half a second on a busy machine.
const baseMs = 2000;
// Eight times what the slowest honest file takes on one core: a progressive CMYK JPEG.
const megapixelMs = 400;
// Node and libvips, and what the images before may have left: see idleBytesMax.
const baseBytes = 140 * MiB;
// The largest honest file, again progressive CMYK: 8 bytes of coefficients, 4 of inks, and what is read of it. Measured: 12.3.
const pixelBytes = 13;

/** Resident memory past which an idle process is replaced: what it kept would count against the next image. */
export const idleBytesMax = 150 * MiB;

/**
 * Images of so many pixels are opened side by side; of larger ones one at a time, so that however many come, the others find a process
 * free and all fit into a pod of 1.5 GB. Phones make 12 megapixels.
 */
export const smallPixelsMax = 16_000_000;

/** The limits of an image of so many pixels, width times height. */
export function limitsOf(pixels: number): ImageLimits {
  return {
    timeMsMax: baseMs + Math.ceil((pixels / 1e6) * megapixelMs),
    memoryBytesMax: baseBytes + pixels * pixelBytes,
  };
}

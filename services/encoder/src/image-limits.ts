import type { ImageMeasure, ImageType } from "@florence/model/image";

const MiB = 1024 * 1024;

/** What opening an image may take before its process is killed. */
export interface ImageLimits {
  readonly timeMsMax: number;
  /** Of the whole process, resident. */
  readonly memoryBytesMax: number;
  /**
   * Large ones are opened one at a time, all others side by side: however many large ones come, the others find a process free, and all fit
   * into a pod of 1.5 GB.
   */
  readonly large: boolean;
}

// What a process needs on a busy machine for an image of no pixels at all, many times over.
const baseMs = 2000;
// The usual deadline of a call: nobody waits for more.
const mostMs = 60_000;
// Node and libvips take 100 MiB, and the images before may have left as much as idleBytesMax.
const baseBytes = 150 * MiB;
// Even a small one needs buffers, and leaves some to be collected later.
const leastBytes = 48 * MiB;

interface Cost {
  /** Some eight times what the slowest honest file takes on a core to itself. */
  readonly megapixelMs: number;
  /** What the largest honest file takes, and a little. */
  readonly pixelBytes: number;
}
// 50 ms and 12.3 bytes for a progressive CMYK JPEG: 8 bytes of coefficients, 4 of inks. All others take less.
const usual: Cost = { megapixelMs: 400, pixelBytes: 14 };
const costs: Readonly<Partial<Record<ImageType, Cost>>> = {
  avif: { megapixelMs: 400, pixelBytes: 20 }, // 55 ms, 19 bytes
  heic: { megapixelMs: 3000, pixelBytes: 20 }, // 330 ms in WebAssembly, whose memory grows and never shrinks
};

/** Resident memory past which an idle process is replaced: what it kept would count against the next image. */
export const idleBytesMax = 150 * MiB;

// Phones make 12 megapixels. Larger ones, or what takes as much memory, are large.
const smallBytesMax = memoryOf(16_000_000, usual);

/** The most that any image may take beside its file, if an image of so many pixels is the largest that is opened. */
export const mostBytes = (pixelsMax: number): number => memoryOf(pixelsMax, usual);

/** What an image may take that came as so many bytes and has at most `pixelsMax` pixels. */
export function limitsOf({ type, pixels }: ImageMeasure, fileBytes: number, pixelsMax: number): ImageLimits {
  const cost = costs[type] ?? usual;
  // One of too many pixels is refused before it is decoded.
  const charged = Math.min(pixels, pixelsMax);
  const bytes = Math.min(mostBytes(pixelsMax), memoryOf(charged, cost));
  return {
    timeMsMax: Math.min(mostMs, baseMs + Math.ceil((charged / 1e6) * cost.megapixelMs)),
    // The file, and what a header walk kept of it.
    memoryBytesMax: bytes + 2 * fileBytes,
    large: bytes > smallBytesMax,
  };
}

function memoryOf(pixels: number, { pixelBytes }: Cost): number {
  return baseBytes + Math.max(leastBytes, pixels * pixelBytes);
}

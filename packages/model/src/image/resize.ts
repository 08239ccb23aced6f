import { coefficientsFor } from "./resize-coefficients.ts";
import { loadResizeKernel } from "./resize-kernel.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

// Input copied at a time by the vertical pass: small enough to be in the processor's second-level cache still when it is
// read again, large enough that copying it is one long run.
const blockBytes = 256 * 1024;
// The horizontal pass turns so many rows at a time: a vector of bytes.
const stripRows = 16;
// The kernel reads and writes whole vectors, so it touches up to 15 bytes past the last row.
const slackBytes = 16;

let loaded: ReturnType<typeof loadResizeKernel> | undefined;

/**
 * Bicubic resize, byte for byte what Pillow 13's `Image.resize((to.width, to.height), BICUBIC)` gives: one pass along
 * each axis whose length changes, each rounded to 8 bits.
 *
 * rgb: [from.height, from.width, 3]. Returns [to.height, to.width, 3]; when nothing changes, rgb itself.
 * Synchronous and busy for milliseconds: call it in a worker thread. The aspect ratio is not kept.
 * Throws RangeError for a side that is no whole number above zero, and for bytes that do not fill `from`.
 */
export function resizeBicubic(rgb: Uint8Array, from: Size, to: Size): Uint8Array {
  for (const side of [from.width, from.height, to.width, to.height]) {
    if (!Number.isInteger(side) || side < 1) throw new RangeError(`An image's side cannot be ${side}.`);
  }
  if (rgb.length !== from.width * from.height * 3) {
    throw new RangeError(`${rgb.length} bytes are not ${from.width}x${from.height} RGB pixels.`);
  }
  // Rounding between the passes makes their order visible. Pillow starts with the height when that loses more than
  // twice as many pixels as the width does (before its version 13 it always started with the width).
  const heightFirst = from.height > to.height && from.height - to.height > 2 * (from.width - to.width);
  return heightFirst
    ? resizeWidth(resizeHeight(rgb, from, to.height), { width: from.width, height: to.height }, to.width)
    : resizeHeight(resizeWidth(rgb, from, to.width), { width: to.width, height: from.height }, to.height);
}

/** [height, width, 3] -> [height, toWidth, 3] */
function resizeWidth(rgb: Uint8Array, { width, height }: Size, toWidth: number): Uint8Array {
  if (width === toWidth) return rgb;
  const { table, rowBytes } = coefficientsFor(width, toWidth);
  const stride = width * 3;
  const toStride = toWidth * 3;
  const blocks = Math.ceil(stride / stripRows);
  const toBlocks = Math.ceil(toStride / stripRows);
  // A strip of rows is turned on its side: a column of pixels becomes a row of 16 reds, 16 greens and 16 blues. Then
  // this pass is a blend of rows like the other one, in full vectors, and the result is turned back.
  const columnBytes = 3 * stripRows;
  const stripAt = table.length;
  const turnedAt = stripAt + stripRows * stride + slackBytes;
  const blendedAt = turnedAt + blocks * stripRows * stripRows + columnBytes;
  const resultAt = blendedAt + toBlocks * stripRows * stripRows;
  const resultStride = toBlocks * stripRows;
  loaded ??= loadResizeKernel();
  const { kernel } = loaded;
  const memory = loaded.reserve(resultAt + stripRows * resultStride);
  memory.set(table);
  const out = new Uint8Array(height * toStride);
  for (let y = 0; y < height; y += stripRows) {
    const yEnd = Math.min(height, y + stripRows);
    memory.set(rgb.subarray(y * stride, yEnd * stride), stripAt);
    kernel.transpose(stripAt, stride, 16, turnedAt, 16, 256, blocks);
    kernel.blend(turnedAt, columnBytes, blendedAt, columnBytes, 3, 0, rowBytes, toWidth);
    kernel.transpose(blendedAt, 16, 256, resultAt, resultStride, 16, toBlocks);
    for (let row = y, at = resultAt; row < yEnd; row++, at += resultStride) {
      out.set(memory.subarray(at, at + toStride), row * toStride);
    }
  }
  return out;
}

/** [height, width, 3] -> [toHeight, width, 3] */
function resizeHeight(rgb: Uint8Array, { width, height }: Size, toHeight: number): Uint8Array {
  if (height === toHeight) return rgb;
  const { table, rowBytes, first, end } = coefficientsFor(height, toHeight);
  const stride = width * 3;
  // Neighbouring blocks of output rows share input rows, so a block is at least twice as tall as what they share.
  const blockRows = Math.max(8, Math.floor(blockBytes / stride / Math.max(1, height / toHeight)));
  const blocks = Array.from({ length: Math.ceil(toHeight / blockRows) }, (_, index) => {
    const y = index * blockRows;
    const yEnd = Math.min(toHeight, y + blockRows);
    return { y, yEnd, first: first[y] as number, end: end[yEnd - 1] as number };
  });
  // One more row, because an odd number of taps reads the row after the last, with coefficient zero.
  const sourceRows = 1 + Math.max(...blocks.map((block) => block.end - block.first));
  const sourceAt = table.length;
  const targetAt = sourceAt + sourceRows * stride + slackBytes;
  loaded ??= loadResizeKernel();
  const { kernel } = loaded;
  const memory = loaded.reserve(targetAt + blockRows * stride + slackBytes);
  memory.set(table);
  const out = new Uint8Array(toHeight * stride);
  for (const block of blocks) {
    memory.set(rgb.subarray(block.first * stride, block.end * stride), sourceAt);
    // Where row 0 would be: the coefficient rows count from there.
    const origin = sourceAt - block.first * stride;
    const rows = block.yEnd - block.y;
    kernel.blend(origin, stride, targetAt, stride, Math.ceil(stride / 16), block.y * rowBytes, rowBytes, rows);
    out.set(memory.subarray(targetAt, targetAt + rows * stride), block.y * stride);
  }
  return out;
}

/** Pillow 13's bicubic resize written for reading, not for speed: what the fast one is compared with. */
import type { Size } from "../src/image/resize.ts";

function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

/** One row or column: `at(position)` reads it. */
function resizeLine(at: (position: number) => number, input: number, output: number): number[] {
  const scale = input / output;
  const widening = Math.max(1, scale);
  return Array.from({ length: output }, (_, position) => {
    const center = (position + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - 2 * widening + 0.5));
    const to = Math.min(input, Math.trunc(center + 2 * widening + 0.5));
    const coefficients = Array.from({ length: to - from }, (_, tap) =>
      cubic((tap + from - center + 0.5) * (1 / widening)),
    );
    const total = coefficients.reduce((sum, coefficient) => sum + coefficient, 0);
    let sum = 2 ** 21;
    for (const [tap, coefficient] of coefficients.entries()) {
      const exact = (coefficient / total) * 2 ** 22;
      sum += Math.trunc(exact + Math.sign(exact) * 0.5) * at(from + tap);
    }
    return Math.max(0, Math.min(255, Math.floor(sum / 2 ** 22)));
  });
}

function resizeWidth(rgb: Uint8Array, { width, height }: Size, toWidth: number): Uint8Array {
  if (width === toWidth) return rgb;
  const out = new Uint8Array(toWidth * height * 3);
  for (let y = 0; y < height; y++) {
    for (let c = 0; c < 3; c++) {
      const line = resizeLine((x) => rgb[(y * width + x) * 3 + c] as number, width, toWidth);
      for (const [x, value] of line.entries()) out[(y * toWidth + x) * 3 + c] = value;
    }
  }
  return out;
}

function resizeHeight(rgb: Uint8Array, { width, height }: Size, toHeight: number): Uint8Array {
  if (height === toHeight) return rgb;
  const out = new Uint8Array(width * toHeight * 3);
  for (let i = 0; i < width * 3; i++) {
    const line = resizeLine((y) => rgb[y * width * 3 + i] as number, height, toHeight);
    for (const [y, value] of line.entries()) out[y * width * 3 + i] = value;
  }
  return out;
}

export function pillowResize(rgb: Uint8Array, from: Size, to: Size): Uint8Array {
  return from.height > to.height && from.height - to.height > 2 * (from.width - to.width)
    ? resizeWidth(resizeHeight(rgb, from, to.height), { width: from.width, height: to.height }, to.width)
    : resizeHeight(resizeWidth(rgb, from, to.width), { width: to.width, height: from.height }, to.height);
}

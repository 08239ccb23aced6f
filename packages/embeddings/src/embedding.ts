/// <reference lib="esnext.float16" />
/** The vision features of one image. Treat it as read-only and never transfer its buffer: stores share it. */
export interface Embedding {
  /** [image tokens, hidden size]. */
  readonly dims: readonly [number, number];
  /** Row-major, dims[0] * dims[1] numbers. */
  readonly data: Float32Array<ArrayBuffer>;
}

/** Tells whether the data has as many numbers as the dims say; a transferred buffer has none. */
export function isWhole({ dims: [rows, width], data }: Embedding): boolean {
  return rows > 0 && width > 0 && data.length === rows * width;
}

/** Tells whether all numbers are finite: a sum of that many float32 stays far below what float64 holds, and keeps every NaN and infinity. */
export function allFinite(data: Float32Array | Float16Array): boolean {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i] as number;
  return Number.isFinite(sum);
}

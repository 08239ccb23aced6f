/** A matrix as int8 with one scale a column: [K, N], for integer matrix products. */
export interface ColumnQuantized {
  readonly data: Int8Array<ArrayBuffer>; // [K, N]
  readonly scales: Float32Array<ArrayBuffer>; // [N]
}

/** A matrix in blocks of a row, each with its scale: the layout of MatMulNBits. */
export interface BlockQuantized {
  readonly data: Uint8Array<ArrayBuffer>; // [N, blocks, blockSize * bits / 8]
  readonly scales: Float32Array<ArrayBuffer>; // [N, blocks]
}

/**
 * Weights in a block share a scale. 32 is the one size at which the runtime's kernels give a row the same result alone and in a batch
 * (measured: 64 and more do not), and the finest.
 */
export const blockSize = 32;

/** Symmetric int8 per output channel, turned round. `weights`: [N, K], a linear's weight as stored. */
export function quantizeColumns(weights: Float32Array, outputs: number, inputs: number): ColumnQuantized {
  const data = new Int8Array(inputs * outputs);
  const scales = new Float32Array(outputs);
  for (let n = 0; n < outputs; n++) {
    const row = weights.subarray(n * inputs, (n + 1) * inputs);
    let largest = 0;
    for (let k = 0; k < inputs; k++) largest = Math.max(largest, Math.abs(row[k] as number));
    const scale = largest / 127 || 1;
    scales[n] = scale;
    for (let k = 0; k < inputs; k++) data[k * outputs + n] = Math.round((row[k] as number) / scale);
  }
  return { data, scales };
}

/**
 * Blocks of 4 or 8 bits around an exact zero. The largest weight of a block lands on the range's negative end, which has one step more
 * than the positive. A row that is not a whole number of blocks is filled up with zeros.
 */
export function quantizeBlocks(weights: Float32Array, outputs: number, inputs: number, bits: 4 | 8): BlockQuantized {
  const blocks = Math.ceil(inputs / blockSize);
  const bytes = (blockSize * bits) / 8;
  const zero = 1 << (bits - 1);
  const data = new Uint8Array(outputs * blocks * bytes);
  const scales = new Float32Array(outputs * blocks);
  for (let n = 0; n < outputs; n++) {
    for (let b = 0; b < blocks; b++) {
      const block = weights.subarray(n * inputs + b * blockSize, n * inputs + Math.min(inputs, (b + 1) * blockSize));
      const at = n * blocks + b;
      const scale = bits === 8 ? largestOf(block) / -zero || 1 : bestScale(block, zero);
      scales[at] = scale;
      for (let i = 0; i < blockSize; i++) {
        const q = toSteps(block[i] ?? 0, scale, zero) + zero;
        if (bits === 8) data[at * bytes + i] = q;
        else data[at * bytes + (i >> 1)] = (data[at * bytes + (i >> 1)] as number) | (q << (4 * (i & 1))); // low nibble first
      }
    }
  }
  return { data, scales };
}

// Sixteen steps are few: cutting off the largest weight a little often serves the other 31 better.
const scaleTrials = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7];

/** The scale of least squared error. */
function bestScale(block: Float32Array, zero: number): number {
  const whole = largestOf(block) / -zero;
  if (whole === 0) return 1;
  let best = whole;
  let least = Number.POSITIVE_INFINITY;
  for (const trial of scaleTrials) {
    const scale = whole * trial;
    let error = 0;
    for (let i = 0; i < block.length; i++)
      error += (toSteps(block[i] as number, scale, zero) * scale - (block[i] as number)) ** 2;
    if (error < least) [best, least] = [scale, error];
  }
  return best;
}

/** The weight of largest magnitude, with its sign. */
function largestOf(block: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < block.length; i++)
    if (Math.abs(block[i] as number) > Math.abs(largest)) largest = block[i] as number;
  return largest;
}

function toSteps(weight: number, scale: number, zero: number): number {
  return Math.max(-zero, Math.min(zero - 1, Math.round(weight / scale)));
}

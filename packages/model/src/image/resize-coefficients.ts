import { coefficientBits, coefficientPairBytes, coefficientRowHead, highShift } from "./resize-kernel.ts";

/** One axis of a resize, ready for the kernel. The table must not be changed: it may be shared. */
export interface AxisCoefficients {
  /** For each output position, the first input position that counts. */
  readonly first: Int32Array;
  /** For each output position, one past the last input position that counts. */
  readonly end: Int32Array;
  readonly rowBytes: number;
  /** One coefficient row per output position, as the kernel reads it. */
  readonly table: Uint8Array;
}

/** Keys' cubic with a = -0.5, the one that Pillow calls BICUBIC. */
function cubic(distance: number): number {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/**
 * Pillow's coefficients for one axis: when shrinking, the kernel is widened by the reduction (antialiasing); the
 * coefficients of a position are normalised in float64 and then rounded, half away from zero, to 22-bit fixed point.
 * Every operation is in Pillow's order, so that the float64 values are the same to the last bit.
 */
function axisCoefficients(input: number, output: number): AxisCoefficients {
  const scale = input / output;
  const widening = Math.max(scale, 1);
  const support = 2 * widening;
  const shrink = 1 / widening;
  const first = new Int32Array(output);
  const end = new Int32Array(output);
  let taps = 0;
  for (let position = 0; position < output; position++) {
    const center = (position + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - support + 0.5));
    const to = Math.min(input, Math.trunc(center + support + 0.5));
    first[position] = from;
    end[position] = to;
    taps = Math.max(taps, to - from);
  }
  const rowBytes = coefficientRowHead + Math.ceil(taps / 2) * coefficientPairBytes;
  const table = new DataView(new ArrayBuffer(output * rowBytes));
  const coefficients = new Float64Array(taps);
  for (let position = 0; position < output; position++) {
    const center = (position + 0.5) * scale;
    const from = first[position] as number;
    const count = (end[position] as number) - from;
    let total = 0;
    for (let tap = 0; tap < count; tap++) {
      const coefficient = cubic((tap + from - center + 0.5) * shrink);
      coefficients[tap] = coefficient;
      total += coefficient;
    }
    const row = position * rowBytes;
    table.setInt32(row, from, true);
    table.setInt32(row + 4, Math.ceil(count / 2), true);
    for (let tap = 0; tap < count; tap++) {
      const exact = ((coefficients[tap] as number) / total) * 2 ** coefficientBits;
      const fixed = Math.trunc(exact < 0 ? exact - 0.5 : exact + 0.5);
      const at = row + coefficientRowHead + (tap >> 1) * coefficientPairBytes + (tap & 1) * 2;
      table.setInt16(at, fixed >> highShift, true);
      table.setInt16(at + 4, fixed & ((1 << highShift) - 1), true);
    }
  }
  return { first, end, rowBytes, table: new Uint8Array(table.buffer) };
}

// Cameras and screens have few sizes. A usual table is below 100 kB; the largest (65535 to 768) is 1 MB.
const cachedTablesMax = 16;
const cache = new Map<string, AxisCoefficients>();

/** The coefficients that resize `input` positions to `output`, kept for the pairs used last. */
export function coefficientsFor(input: number, output: number): AxisCoefficients {
  const key = `${input}:${output}`;
  const found = cache.get(key) ?? axisCoefficients(input, output);
  cache.delete(key);
  cache.set(key, found);
  if (cache.size > cachedTablesMax) cache.delete(cache.keys().next().value as string);
  return found;
}

import { assemble, type Code, i16x8, i32, i32x4, type Local, loop, u8x16, v128, type WasmFunction } from "./wasm.ts";

/**
 * The two inner loops of the resize, as WebAssembly SIMD. The type package does not declare WebAssembly, so the little
 * that is used of it is declared at the end.
 */
export interface ResizeKernel {
  /**
   * Weighted sums of rows: each target row is one sum over a run of source rows, byte by byte, rounded and clipped.
   * Rows are `vectors` * 16 bytes; coefficients: `rows` coefficient rows of rowBytes (see resize-coefficients.ts).
   * A target row may reach into the next one: rows are written in order.
   */
  blend(
    source: number,
    sourceStride: number,
    target: number,
    targetStride: number,
    vectors: number,
    coefficients: number,
    rowBytes: number,
    rows: number,
  ): void;
  /**
   * Transposes `blocks` squares of 16x16 bytes. A square's rows lie sourceStride apart and land targetStride apart; the
   * next square is sourceStep and targetStep further on.
   */
  transpose(
    source: number,
    sourceStride: number,
    sourceStep: number,
    target: number,
    targetStride: number,
    targetStep: number,
    blocks: number,
  ): void;
}

/** Coefficients are fixed-point numbers with so many fractional bits. */
export const coefficientBits = 22;
/**
 * That is too wide for the 16-bit multiply-add, the fastest multiplication there is. So a coefficient travels as two
 * halves, high * 2^12 + low, summed apart and joined at the end: the result is exact.
 */
export const highShift = 12;
/** A coefficient row: int32 first source row, int32 pairs, then for each pair of taps int16 high, high, low, low. */
export const coefficientRowHead = 8;
export const coefficientPairBytes = 8;

const lanes = Array.from({ length: 16 }, (_, index) => index);
const interleave = (from: number): Code => lanes.map((lane) => from + (lane >> 1) + (lane & 1) * 16);
/** a0 b0 a1 b1 … of the lower or upper eight bytes. */
const interleaveLow = (a: Local, b: Local) => v128.shuffle(a.get, b.get, interleave(0));
const interleaveHigh = (a: Local, b: Local) => v128.shuffle(a.get, b.get, interleave(8));

const advance = (pointer: Local, by: Code) => pointer.set(i32.add(pointer.get, by));

const blend: WasmFunction = {
  name: "blend",
  params: 8,
  body([source, sourceStride, target, targetStride, vectors, coefficients, rowBytes, rows], local) {
    const sums = [0, 1, 2, 3].map(() => ({ high: local.v128(), low: local.v128() }));
    const [coefficientHigh, coefficientLow, pixels] = [local.v128(), local.v128(), local.v128()];
    const [upper, lower, mixed] = [local.v128(), local.v128(), local.v128()];
    const [column, to, row, coefficient, leftVectors, leftPairs] = [
      local.i32(),
      local.i32(),
      local.i32(),
      local.i32(),
      local.i32(),
      local.i32(),
    ];
    const half = i32x4.splat(i32.const(1 << (coefficientBits - 1)));
    const add = (sum: Local, by: Local) => sum.set(i32x4.add(sum.get, i32x4.dotI16x8(pixels.get, by.get)));
    const joined = (quarter: number) => {
      const { high, low } = sums[quarter] as { high: Local; low: Local };
      return i32x4.shrS(i32x4.add(i32x4.shl(high.get, i32.const(highShift)), low.get), i32.const(coefficientBits));
    };
    const pairLoop = loop(
      [
        upper.set(v128.load(row.get)),
        advance(row, sourceStride.get),
        lower.set(v128.load(row.get)),
        advance(row, sourceStride.get),
        coefficientHigh.set(v128.load32Splat(coefficient.get)),
        coefficientLow.set(v128.load32Splat(coefficient.get, 4)),
        advance(coefficient, i32.const(coefficientPairBytes)),
        ...sums.flatMap(({ high, low }, quarter) => [
          ...(quarter === 0 ? [mixed.set(interleaveLow(upper, lower))] : []),
          ...(quarter === 2 ? [mixed.set(interleaveHigh(upper, lower))] : []),
          pixels.set(quarter % 2 === 0 ? i16x8.extendLowU8(mixed.get) : i16x8.extendHighU8(mixed.get)),
          add(high, coefficientHigh),
          add(low, coefficientLow),
        ]),
        advance(leftPairs, i32.const(-1)),
      ],
      leftPairs.get,
    );
    const vectorLoop = loop(
      [
        row.set(column.get),
        coefficient.set(i32.add(coefficients.get, i32.const(coefficientRowHead))),
        ...sums.flatMap(({ high, low }) => [high.set(v128.zero), low.set(half)]),
        leftPairs.set(i32.load(coefficients.get, 4)),
        pairLoop,
        // The narrowing saturates, so this clips to 0..255 too.
        v128.store(
          to.get,
          u8x16.narrowI16x8(i16x8.narrowI32x4(joined(0), joined(1)), i16x8.narrowI32x4(joined(2), joined(3))),
        ),
        advance(column, i32.const(16)),
        advance(to, i32.const(16)),
        advance(leftVectors, i32.const(-1)),
      ],
      leftVectors.get,
    );
    return [
      loop(
        [
          column.set(i32.add(source.get, i32.mul(i32.load(coefficients.get), sourceStride.get))),
          to.set(target.get),
          leftVectors.set(vectors.get),
          vectorLoop,
          advance(coefficients, rowBytes.get),
          advance(target, targetStride.get),
          advance(rows, i32.const(-1)),
        ],
        rows.get,
      ),
    ];
  },
};

const transpose: WasmFunction = {
  name: "transpose",
  params: 7,
  body([source, sourceStride, sourceStep, target, targetStride, targetStep, blocks], local) {
    const [from, to] = [local.i32(), local.i32()];
    const even = lanes.map(() => local.v128());
    const odd = lanes.map(() => local.v128());
    // Interleaving the first half of the vectors with the second, four times over, transposes the square.
    const riffle = (a: Local[], b: Local[]) =>
      lanes.map((lane) => {
        const [first, second] = [a[lane >> 1] as Local, a[(lane >> 1) + 8] as Local];
        return (b[lane] as Local).set(lane % 2 === 0 ? interleaveLow(first, second) : interleaveHigh(first, second));
      });
    return [
      loop(
        [
          from.set(source.get),
          ...even.flatMap((vector) => [vector.set(v128.load(from.get)), advance(from, sourceStride.get)]),
          ...[...riffle(even, odd), ...riffle(odd, even), ...riffle(even, odd), ...riffle(odd, even)],
          to.set(target.get),
          ...even.flatMap((vector) => [v128.store(to.get, vector.get), advance(to, targetStride.get)]),
          advance(source, sourceStep.get),
          advance(target, targetStep.get),
          advance(blocks, i32.const(-1)),
        ],
        blocks.get,
      ),
    ];
  },
};

interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
declare const WebAssembly: {
  Memory: new (descriptor: { initial: number }) => Memory;
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

const pageBytes = 65_536;

/** A kernel with its own memory, for one caller at a time. It grows to the largest size asked for and stays there. */
export function loadResizeKernel(): { kernel: ResizeKernel; reserve(bytes: number): Uint8Array<ArrayBuffer> } {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(assemble([blend, transpose]));
  const kernel = new WebAssembly.Instance(module, { env: { memory } }).exports as ResizeKernel;
  return {
    kernel,
    reserve(bytes) {
      const missing = Math.ceil((bytes - memory.buffer.byteLength) / pageBytes);
      if (missing > 0) memory.grow(missing);
      return new Uint8Array(memory.buffer);
    },
  };
}

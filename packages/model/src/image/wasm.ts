/**
 * A very small WebAssembly assembler: enough to write an integer SIMD loop as nested expressions, so that a kernel's
 * source stands in this repository instead of a binary blob. An instruction is the list of its bytes, operands first.
 */

export type Code = readonly number[];

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  do {
    const low = value & 0x7f;
    value >>>= 7;
    bytes.push(value === 0 ? low : low | 0x80);
  } while (value !== 0);
  return bytes;
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    if ((value === 0 && (low & 0x40) === 0) || (value === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

const vector = (items: readonly Code[]): number[] => [...unsigned(items.length), ...items.flat()];
const simd = (op: number): number[] => [0xfd, ...unsigned(op)];
// Every access is declared as unaligned (0): the kernels read pixels at any byte.
const access = (offset: number): number[] => [0, ...unsigned(offset)];
const binary = (op: Code) => (a: Code, b: Code) => [...a, ...b, ...op];

export const i32 = {
  const: (value: number): Code => [0x41, ...signed(value)],
  load: (at: Code, offset = 0): Code => [...at, 0x28, ...access(offset)],
  add: binary([0x6a]),
  mul: binary([0x6c]),
};

export const v128 = {
  zero: [...simd(12), ...new Array<number>(16).fill(0)] as Code,
  load: (at: Code, offset = 0): Code => [...at, ...simd(0), ...access(offset)],
  /** Reads 4 bytes and repeats them in all four lanes. */
  load32Splat: (at: Code, offset = 0): Code => [...at, ...simd(9), ...access(offset)],
  store: (at: Code, value: Code, offset = 0): Code => [...at, ...value, ...simd(11), ...access(offset)],
  /** Sixteen bytes chosen from a (0..15) and b (16..31). */
  shuffle: (a: Code, b: Code, lanes: Code): Code => [...a, ...b, ...simd(13), ...lanes],
};

export const i32x4 = {
  splat: (value: Code): Code => [...value, ...simd(17)],
  add: binary(simd(174)),
  shl: binary(simd(171)),
  shrS: binary(simd(172)),
  /** Multiplies eight int16 pairs and adds neighbours: lane i = a[2i] * b[2i] + a[2i + 1] * b[2i + 1]. */
  dotI16x8: binary(simd(186)),
};

export const i16x8 = {
  narrowI32x4: binary(simd(133)),
  extendLowU8: (a: Code): Code => [...a, ...simd(137)],
  extendHighU8: (a: Code): Code => [...a, ...simd(138)],
};

export const u8x16 = { narrowI16x8: binary(simd(102)) };

/** Runs the body until `again` is zero; the body always runs once. */
export const loop = (body: readonly Code[], again: Code): Code => [0x03, 0x40, ...body.flat(), ...again, 0x0d, 0, 0x0b];

export interface Local {
  readonly get: Code;
  set(value: Code): Code;
}

export interface WasmFunction {
  readonly name: string;
  /** The number of i32 parameters, at most 8. */
  readonly params: number;
  /** Asks for further locals and returns the body; the function returns nothing. */
  body(params: Parameters, local: { i32(): Local; v128(): Local }): readonly Code[];
}
// A tuple, so that a body can name its parameters without checking that they are there.
type Parameters = [Local, Local, Local, Local, Local, Local, Local, Local];

/** The bytes of a module that exports the functions, and imports its memory as `env.memory`. */
export function assemble(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const i32Type = 0x7f;
  const v128Type = 0x7b;
  const name = (text: string) => vector([...new TextEncoder().encode(text)].map((byte) => [byte]));
  const section = (id: number, content: Code) => [id, ...unsigned(content.length), ...content];
  const bodies = functions.map((fn) => {
    const extra: number[] = [];
    const local = (index: number): Local => ({
      get: [0x20, ...unsigned(index)],
      set: (value) => [...value, 0x21, ...unsigned(index)],
    });
    const add = (type: number) => local(fn.params + extra.push(type) - 1);
    const params = Array.from({ length: 8 }, (_, index) => local(index)) as Parameters;
    const code = fn.body(params, { i32: () => add(i32Type), v128: () => add(v128Type) }).flat();
    const whole = [...vector(extra.map((type) => [1, type])), ...code, 0x0b];
    return [...unsigned(whole.length), ...whole];
  });
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(functions.map((fn) => [0x60, ...vector(new Array<Code>(fn.params).fill([i32Type])), 0]))),
    ...section(2, vector([[...name("env"), ...name("memory"), 0x02, 0x00, 1]])),
    ...section(3, vector(functions.map((_, index) => unsigned(index)))),
    ...section(7, vector(functions.map((fn, index) => [...name(fn.name), 0x00, ...unsigned(index)]))),
    ...section(10, vector(bodies)),
  ]);
}

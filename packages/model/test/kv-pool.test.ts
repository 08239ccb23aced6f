import { expect, test } from "vitest";
import { float32Tensor, numbersOf } from "../src/engine/engine.ts";
import { HostKvPool } from "../src/inference/host-kv-pool.ts";
import type { KvPool } from "../src/inference/kv-pool.ts";

const shape = { names: ["key", "value"], heads: 2, dim: 3, positionStep: 4, positionsMax: 10, slotsMax: 5 };
const rowSize = shape.names.length * shape.heads * shape.dim;

/** A step's keys and values: every number says which sequence, position and place it belongs to. */
function step(rows: readonly { sequence: number; position: number }[]) {
  const data = rows.flatMap(({ sequence, position }) =>
    Array.from({ length: rowSize }, (_, i) => sequence * 1000 + position * 50 + i),
  );
  return { appended: float32Tensor(Float32Array.from(data), [rows.length, 1, 2, shape.heads * shape.dim]) };
}

/** The sequence that each position of a slot says it belongs to, all tensors and heads agreeing. */
async function sequencesIn(pool: KvPool, slots: number, slot: number, length: number): Promise<number[]> {
  const tensors = await pool.inputs(slots);
  const found: number[] = [];
  for (let position = 0; position < length; position++) {
    for (const [t, name] of shape.names.entries()) {
      const stride = tensors[name]?.dims[2] as number;
      for (let h = 0; h < shape.heads; h++) {
        const at = ((slot * shape.heads + h) * stride + position) * shape.dim;
        const value = numbersOf(tensors, name, "float32")[at] as number;
        const sequence = Math.floor(value / 1000);
        expect(value).toBe(sequence * 1000 + position * 50 + (t * shape.heads + h) * shape.dim);
        if (t + h === 0) found.push(sequence);
      }
    }
  }
  return found;
}

test("what slots hold survives that the pool grows in slots and in positions", async () => {
  const pool = new HostKvPool(shape);
  for (let position = 0; position < shape.positionsMax; position++) {
    pool.reserve(2, position + 1, 2);
    pool.append(step([1, 2].map((sequence) => ({ sequence, position }))), [position, position]);
  }
  pool.reserve(5, 1, 2);
  expect(await sequencesIn(pool, 5, 0, 10)).toEqual(Array(10).fill(1));
  expect(await sequencesIn(pool, 5, 1, 10)).toEqual(Array(10).fill(2));
});

test("slots of different age take a step each at its own position, and a copy takes only its range", async () => {
  const pool = new HostKvPool(shape);
  pool.reserve(2, 4, 0);
  for (let position = 0; position < 3; position++)
    pool.append(step([1, 2].map((sequence) => ({ sequence, position }))), [position, position]);
  pool.append(
    step([
      { sequence: 1, position: 3 },
      { sequence: 2, position: 1 },
    ]),
    [3, 1],
  );
  pool.copy(0, 1, 2, 4);
  expect(await sequencesIn(pool, 2, 1, 4)).toEqual([2, 2, 1, 1]);
  expect(await sequencesIn(pool, 2, 0, 4)).toEqual([1, 1, 1, 1]);
});

test("a prompt fills a slot with its own positions, whatever it was padded to", async () => {
  const pool = new HostKvPool(shape);
  const stride = 7;
  const key = Float32Array.from({ length: 2 * shape.heads * stride * shape.dim }, (_, i) => i); // [P, heads, stride, dim]
  const tensor = float32Tensor(key, [2, shape.heads, stride, shape.dim]);
  pool.reserve(1, 5, 0);
  pool.fill(0, { tensors: { key: tensor, value: tensor }, lengths: [7, 5], [Symbol.dispose]: () => {} }, 1);
  const filled = numbersOf(await pool.inputs(1), "value", "float32");
  const positions = filled.length / shape.heads / shape.dim;
  for (let h = 0; h < shape.heads; h++)
    expect(filled.subarray(h * positions * shape.dim, (h * positions + 5) * shape.dim)).toEqual(
      key.subarray((shape.heads + h) * stride * shape.dim, ((shape.heads + h) * stride + 5) * shape.dim),
    );
});

test("a pool never holds more than its shape allows, and nothing once it is cleared", () => {
  const pool = new HostKvPool(shape);
  expect(() => pool.reserve(6, 1, 0)).toThrow(RangeError);
  expect(() => pool.reserve(1, 11, 0)).toThrow(RangeError);
  pool.reserve(5, 10, 0);
  expect(pool.bytes).toBe(shape.names.length * 5 * shape.heads * 10 * shape.dim * 4);
  pool.clear();
  expect(pool.bytes).toBe(0);
});

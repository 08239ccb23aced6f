import { float32Tensor, numbersOf, type Tensors } from "../engine/engine.ts";
import { appendedName } from "../graphs/decode.ts";
import type { KvPool, KvShape } from "./kv-pool.ts";
import type { EncodedPrompts } from "./prompt-model.ts";

/**
 * A pool in this process's memory: for each tensor one float32 buffer [slots, heads, positions, dim], and a batch of the first slots is a
 * view of it, never a copy. Positions grow in steps with the longest sequence and shrink back when the pool is empty.
 */
export class HostKvPool implements KvPool {
  readonly shape: KvShape;
  readonly outputs: readonly string[] = [appendedName];
  #buffers: Float32Array[] = [];
  #slots = 0;
  #positions = 0; // of every slot: the stride of the buffers

  constructor(shape: KvShape) {
    this.shape = shape;
  }

  get bytes(): number {
    return this.#buffers.reduce((n, b) => n + b.byteLength, 0);
  }

  reserve(slots: number, positions: number, used: number): void {
    const { positionStep, positionsMax, slotsMax } = this.shape;
    if (slots > slotsMax || positions > positionsMax)
      throw new RangeError(`a KV pool of ${slotsMax} x ${positionsMax} cannot hold ${slots} x ${positions}`);
    const fits = slots <= this.#slots && positions <= this.#positions;
    if (fits) return;
    const newPositions =
      positions <= this.#positions
        ? this.#positions
        : Math.min(positionsMax, Math.ceil(positions / positionStep) * positionStep);
    // Slots double, so that joining one by one copies each row a constant number of times.
    const newSlots = slots <= this.#slots ? this.#slots : Math.min(slotsMax, Math.max(slots, 2 * this.#slots));
    this.#resize(newSlots, newPositions, used);
  }

  clear(): void {
    this.#buffers = [];
    this.#slots = 0;
    this.#positions = 0;
  }

  async inputs(slots: number): Promise<Tensors> {
    const { names, heads, dim } = this.shape;
    const dims = [slots, heads, this.#positions, dim];
    const view = (buffer: Float32Array) => float32Tensor(buffer.subarray(0, slots * this.#slotSize), dims);
    return Object.fromEntries(names.map((name, t) => [name, view(this.#buffer(t))]));
  }

  copy(source: number, target: number, from: number, to: number): void {
    const { heads, dim } = this.shape;
    if (source === target || from >= to) return;
    const whole = from === 0 && to === this.#positions;
    for (const buffer of this.#buffers) {
      if (whole) {
        buffer.copyWithin(target * this.#slotSize, source * this.#slotSize, (source + 1) * this.#slotSize);
        continue;
      }
      for (let h = 0; h < heads; h++) {
        const a = (source * heads + h) * this.#positions;
        const b = (target * heads + h) * this.#positions;
        buffer.copyWithin((b + from) * dim, (a + from) * dim, (a + to) * dim);
      }
    }
  }

  append(step: Tensors, positions: readonly number[]): void {
    const { heads, dim, names } = this.shape;
    const rows = numbersOf(step, appendedName, "float32"); // [slots, tensors, heads, dim]
    let from = 0;
    for (const [slot, position] of positions.entries()) {
      for (let t = 0; t < names.length; t++) {
        const buffer = this.#buffer(t);
        for (let h = 0; h < heads; h++) {
          const to = ((slot * heads + h) * this.#positions + position) * dim;
          for (let i = 0; i < dim; i++) buffer[to + i] = rows[from + i] as number;
          from += dim;
        }
      }
    }
  }

  fill(slot: number, { tensors, lengths }: EncodedPrompts, index: number): void {
    const { names, heads, dim } = this.shape;
    const numbers = (lengths[index] as number) * dim;
    for (const [t, name] of names.entries()) {
      const data = numbersOf(tensors, name, "float32"); // [P, heads, stride, dim]
      const stride = tensors[name]?.dims[2] as number;
      const buffer = this.#buffer(t);
      for (let h = 0; h < heads; h++) {
        const from = (index * heads + h) * stride * dim;
        buffer.set(data.subarray(from, from + numbers), (slot * heads + h) * this.#positions * dim);
      }
    }
  }

  get #slotSize(): number {
    return this.shape.heads * this.#positions * this.shape.dim;
  }

  #buffer(tensor: number): Float32Array {
    return this.#buffers[tensor] as Float32Array;
  }

  #resize(slots: number, positions: number, used: number): void {
    const { names, heads, dim } = this.shape;
    const keep = Math.min(positions, this.#positions) * dim;
    for (let t = 0; t < names.length; t++) {
      const grown = new Float32Array(slots * heads * positions * dim);
      const old = this.#buffers[t];
      // One tensor at a time: the pool never stands in memory twice.
      for (let row = 0; old && row < used * heads; row++) {
        const from = row * this.#positions * dim;
        grown.set(old.subarray(from, from + keep), row * positions * dim);
      }
      this.#buffers[t] = grown;
    }
    this.#slots = slots;
    this.#positions = positions;
  }
}

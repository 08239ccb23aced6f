/** A pool's fixed shape and its first size. */
export interface KvShape {
  /** Tensors that grow together: two (key and value) for each decoder layer. */
  readonly tensors: number;
  readonly heads: number;
  readonly dim: number;
  /** Positions are added in steps of this many. */
  readonly positionStep: number;
  readonly positionsMax: number;
  readonly slotsMax: number;
}

/**
 * Attention keys and values of many sequences: for each tensor one buffer float32 [slots, heads, positions, dim].
 * The first n slots are always the ones in use, so a batch of n is a view, never a copy: whoever frees a slot moves the last one into
 * it. Positions grow in steps with the longest sequence and shrink back when the pool is empty.
 */
export class KvPool {
  readonly shape: KvShape;
  #buffers: Float32Array[] = [];
  #slots = 0;
  #positions = 0;

  constructor(shape: KvShape) {
    this.shape = shape;
  }

  /** Positions per slot: the stride of the buffers. */
  get positions(): number {
    return this.#positions;
  }

  get bytes(): number {
    return this.#buffers.reduce((n, b) => n + b.byteLength, 0);
  }

  /** Makes room for `slots` slots of `positions` positions; what the first `used` slots hold is kept. */
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

  /** Gives the memory back; the pool holds nothing afterwards. */
  clear(): void {
    this.#buffers = [];
    this.#slots = 0;
    this.#positions = 0;
  }

  /** The first `slots` slots of a tensor, as a view: [slots, heads, positions, dim]. */
  view(tensor: number, slots: number): Float32Array {
    return this.#buffer(tensor).subarray(0, slots * this.#slotSize);
  }

  /** Copies positions [from, to) of one slot to another, in every tensor. */
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

  /** Writes one position of a slot; `rows` is [tensors, heads, dim] at `offset`. */
  append(slot: number, position: number, rows: Float32Array, offset: number): void {
    const { heads, dim, tensors } = this.shape;
    let from = offset;
    for (let t = 0; t < tensors; t++) {
      const buffer = this.#buffer(t);
      for (let h = 0; h < heads; h++) {
        const to = ((slot * heads + h) * this.#positions + position) * dim;
        for (let i = 0; i < dim; i++) buffer[to + i] = rows[from + i] as number;
        from += dim;
      }
    }
  }

  /** Writes the first `length` positions of one tensor of a slot from `data` [heads, stride, dim] at `offset`. */
  fill(tensor: number, slot: number, data: Float32Array, offset: number, stride: number, length: number): void {
    const { heads, dim } = this.shape;
    const buffer = this.#buffer(tensor);
    for (let h = 0; h < heads; h++) {
      const from = offset + h * stride * dim;
      buffer.set(data.subarray(from, from + length * dim), (slot * heads + h) * this.#positions * dim);
    }
  }

  get #slotSize(): number {
    return this.shape.heads * this.#positions * this.shape.dim;
  }

  #buffer(tensor: number): Float32Array {
    return this.#buffers[tensor] as Float32Array;
  }

  #resize(slots: number, positions: number, used: number): void {
    const { tensors, heads, dim } = this.shape;
    const keep = Math.min(positions, this.#positions) * dim;
    for (let t = 0; t < tensors; t++) {
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

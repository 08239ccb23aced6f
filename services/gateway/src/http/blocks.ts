// As much as a socket is read at a time. A body's last block may be empty but for a byte, and is not accounted.
const blockBytes = 64 * 1024;

/**
 * Bytes as they come, copied into blocks: a chunk of its own for each byte that a slow sender sends would take hundreds of times its
 * size.
 */
export class Blocks {
  readonly #blocks: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(chunk: Uint8Array): void {
    for (let done = 0; done < chunk.length; ) {
      const used = this.#length % blockBytes;
      if (used === 0) this.#blocks.push(new Uint8Array(blockBytes));
      const part = chunk.subarray(done, done + blockBytes - used);
      this.#blocks.at(-1)?.set(part, used);
      done += part.length;
      this.#length += part.length;
    }
  }

  concatenated(): Uint8Array<ArrayBuffer> {
    const whole = new Uint8Array(this.#length);
    for (const [i, block] of this.#blocks.entries()) {
      const offset = i * blockBytes;
      whole.set(block.subarray(0, this.#length - offset), offset);
    }
    return whole;
  }
}

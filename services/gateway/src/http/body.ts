import { Fault } from "@florence/service";
import type { Limits } from "../limits.ts";

/**
 * The bytes of all bodies that are in memory at one time. Reading takes from it as bytes arrive; the request gives
 * everything back when it ends.
 */
export class HeldBytes {
  readonly #max: number;
  #held = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** An account for one request. Dispose it to give its bytes back. */
  open(): HeldBytesAccount {
    let taken = 0;
    return {
      take: (bytes) => {
        if (this.#held + bytes > this.#max) {
          throw new Fault("overloaded", "Too many images are being received. Try again shortly.", { retryAfterS: 1 });
        }
        this.#held += bytes;
        taken += bytes;
      },
      [Symbol.dispose]: () => {
        this.#held -= taken;
        taken = 0;
      },
    };
  }

  get held(): number {
    return this.#held;
  }
}

export interface HeldBytesAccount extends Disposable {
  /** Throws `overloaded` when all requests together would hold too much. */
  take(bytes: number): void;
}

/** What reading a request takes: the gateway's bounds, the request's account of bytes, its end. */
export interface ReadContext {
  readonly limits: Limits;
  readonly account: HeldBytesAccount;
  readonly signal: AbortSignal;
}

/**
 * Reads a body to its end, at most `bytesMax` of it: a longer one is refused with `image_too_large` at its announced
 * length, or where the limit is crossed when it announces none. Throws `signal`'s reason when it fires.
 */
export async function readBody(
  request: Request,
  bytesMax: number,
  { account, signal }: Pick<ReadContext, "account" | "signal">,
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > bytesMax) throw tooLarge(bytesMax);
  if (request.body === null) return new Uint8Array(0);

  const reader = request.body.getReader();
  const stop = () => void reader.cancel(signal.reason).catch(() => {}); // The read below reports the abort.
  signal.addEventListener("abort", stop, { once: true });
  try {
    const blocks = new Blocks();
    for (;;) {
      signal.throwIfAborted();
      const { done, value } = await reader.read().catch((cause: unknown) => {
        signal.throwIfAborted();
        throw new Fault("cancelled", "The body ended before its end.", { cause });
      });
      if (done) break;
      if (blocks.length + value.length > bytesMax) throw tooLarge(bytesMax);
      account.take(value.length);
      blocks.append(value);
    }
    signal.throwIfAborted();
    return blocks.concatenated();
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** An image or body over its limit. */
export function tooLarge(bytesMax: number): Fault {
  return new Fault("image_too_large", `At most ${bytesMax} bytes are accepted here.`);
}

// As much as a socket is read at a time. A body's last block may be empty but for a byte, and is not accounted.
const blockBytes = 64 * 1024;

/**
 * Bytes as they come, copied into blocks: a chunk of its own for each byte that a slow sender sends would take hundreds of times its
 * size.
 */
class Blocks {
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

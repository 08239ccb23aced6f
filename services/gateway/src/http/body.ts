import { Fault } from "@florence/service";
import type { Limits } from "../limits.ts";
import { Blocks } from "./blocks.ts";
import type { HeldBytesAccount } from "./held-bytes.ts";

/** What reading a request takes: the gateway's bounds, the request's account of bytes, its end. */
export interface ReadContext {
  readonly limits: Limits;
  readonly account: HeldBytesAccount;
  /** Fires with what to throw. */
  readonly signal: AbortSignal;
  /** Told of the bytes as they come, so that a sender's speed is known. */
  readonly received: (bytes: number) => void;
}

/**
 * A body's bytes as they come, at most `bytesMax`: of a longer one `tooLarge` is thrown at its announced length, or where the limit is
 * crossed when it announces none. Throws `signal`'s reason when it fires, and `cancelled` where the body ends early. Nothing is accounted
 * here: what is kept of the bytes is the reader's business.
 */
export async function* readChunks(
  request: Request,
  bytesMax: number,
  tooLarge: (bytesMax: number) => Fault,
  { signal, received }: Pick<ReadContext, "signal" | "received">,
): AsyncGenerator<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > bytesMax) throw tooLarge(bytesMax);
  if (request.body === null) return;

  const reader = request.body.getReader();
  const stop = () => void reader.cancel(signal.reason).catch(() => {}); // The read below reports the abort.
  signal.addEventListener("abort", stop, { once: true });
  let length = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const { done, value } = await reader.read().catch((cause: unknown) => {
        signal.throwIfAborted();
        throw new Fault("cancelled", "The body ended before its end.", { cause });
      });
      if (done) break;
      length += value.length;
      if (length > bytesMax) throw tooLarge(bytesMax);
      received(value.length);
      yield value;
    }
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener("abort", stop);
    stop(); // Of what has been read to its end, nothing is left to cancel.
  }
}

/** Reads an image as the body to its end. Throws what readChunks throws, and `overloaded`. */
export async function readBody(
  request: Request,
  bytesMax: number,
  context: Pick<ReadContext, "account" | "signal" | "received">,
): Promise<Uint8Array<ArrayBuffer>> {
  const blocks = new Blocks();
  for await (const chunk of readChunks(request, bytesMax, imageTooLarge, context)) {
    context.account.take(chunk.length);
    blocks.append(chunk);
  }
  return blocks.concatenated();
}

/** An image over its limit. */
export function imageTooLarge(bytesMax: number): Fault {
  return new Fault("image_too_large", `At most ${bytesMax} bytes are accepted here.`);
}

/** A JSON or multipart body over its limit, whatever its image. */
export function bodyTooLarge(bytesMax: number): Fault {
  return new Fault("body_too_large", `At most ${bytesMax} bytes are accepted here.`);
}

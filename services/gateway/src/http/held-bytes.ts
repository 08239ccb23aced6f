import { Fault } from "@florence/service";
import { Shares } from "./shares.ts";

/**
 * The bytes of all bodies and fetched images that are in memory at one time. Reading takes from it as bytes arrive; the request gives
 * everything back when it ends.
 */
export class HeldBytes {
  readonly #max: number;
  readonly #callerMax: number;
  readonly #accounts = new Shares();
  readonly #bytes = new Shares();
  #held = 0;

  /** At most `max` bytes for all, and `callerMax` for one caller; its only request may take what there is. */
  constructor(max: number, callerMax = max) {
    this.#max = max;
    this.#callerMax = callerMax;
  }

  /** An account for one request of a caller. Dispose it to give its bytes back. */
  open(caller: string): HeldBytesAccount {
    let taken = 0;
    let open = true;
    this.#accounts.add(caller, 1);
    return {
      take: (bytes) => {
        const alone = this.#accounts.get(caller) === 1;
        if (this.#held + bytes > this.#max || (!alone && this.#bytes.get(caller) + bytes > this.#callerMax)) {
          throw new Fault("overloaded", "Too many images are being received. Try again shortly.", { retryAfterS: 1 });
        }
        if (!open) return; // Of a request that has been given up: nobody will give it back.
        this.#held += bytes;
        this.#bytes.add(caller, bytes);
        taken += bytes;
      },
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        this.#held -= taken;
        this.#bytes.add(caller, -taken);
        this.#accounts.add(caller, -1);
      },
    };
  }

  get held(): number {
    return this.#held;
  }
}

export interface HeldBytesAccount extends Disposable {
  /** Throws `overloaded` when all requests together, or those of one caller, would hold too much. */
  take(bytes: number): void;
}

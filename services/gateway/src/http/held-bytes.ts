import { Fault } from "@florence/service";
import { Shares } from "./shares.ts";

/**
 * The bytes of all bodies and fetched images that are in memory at one time. Reading takes from it as bytes arrive; the request gives
 * everything back when it ends.
 */
export class HeldBytes {
  readonly #max: number;
  readonly #peerMax: number;
  readonly #accounts = new Shares();
  readonly #bytes = new Shares();
  #held = 0;

  /** At most `max` bytes for all, and `peerMax` for one peer; its only request may take what there is. */
  constructor(max: number, peerMax = max) {
    this.#max = max;
    this.#peerMax = peerMax;
  }

  /** An account for one request of a peer. Dispose it to give its bytes back. */
  open(peer: string): HeldBytesAccount {
    let taken = 0;
    let open = true;
    this.#accounts.add(peer, 1);
    return {
      take: (bytes) => {
        const alone = this.#accounts.get(peer) === 1;
        if (this.#held + bytes > this.#max || (!alone && this.#bytes.get(peer) + bytes > this.#peerMax)) {
          throw new Fault("overloaded", "Too many images are being received. Try again shortly.", { retryAfterS: 1 });
        }
        if (!open) return; // Of a request that has been given up: nobody will give it back.
        this.#held += bytes;
        this.#bytes.add(peer, bytes);
        taken += bytes;
      },
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        this.#held -= taken;
        this.#bytes.add(peer, -taken);
        this.#accounts.add(peer, -1);
      },
    };
  }

  get held(): number {
    return this.#held;
  }
}

export interface HeldBytesAccount extends Disposable {
  /** Throws `overloaded` when all requests together, or those of one peer, would hold too much. */
  take(bytes: number): void;
}

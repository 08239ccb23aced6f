import { Fault, toFault } from "@florence/service";
import { Shares } from "./shares.ts";

/** How many may be served. */
export interface PlacesOptions {
  readonly running: number;
  /** Of those running, how many places are kept for calls without an image, and for callers that have no place yet. */
  readonly reserved: number;
  readonly waiting: number;
}

/** Who asks for a place. */
export interface PlaceRequest {
  readonly caller: string;
  /** The call brings no image along. */
  readonly light: boolean;
}

interface Waiter extends PlaceRequest {
  admit(): void;
  refuse(): void;
}

/**
 * Places among the requests served, with a short queue, fair among callers: a free place goes to the waiting caller that has the fewest, and
 * when the queue is full, the latest of the caller that has the most makes room for one that has less. A caller that is alone may have all
 * places but the reserve.
 */
export class Places {
  readonly #options: PlacesOptions;
  /** In order of arrival. */
  readonly #waiters: Waiter[] = [];
  readonly #held = new Shares();
  /** Places and waiters. */
  readonly #all = new Shares();
  #running = 0;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** Places taken. */
  get running(): number {
    return this.#running;
  }

  /** Whether asking now would get a place or a turn in the queue. */
  takes(request: PlaceRequest): boolean {
    return (
      this.#mayRun(request) ||
      this.#waiters.length < this.#options.waiting ||
      this.#whoMakesRoomFor(request) !== undefined
    );
  }

  /** Waits for a place; disposing it frees it, once. Throws `overloaded`, or the Fault of the signal when it fires first. */
  async acquire(request: PlaceRequest, signal: AbortSignal): Promise<Disposable> {
    if (signal.aborted) throw toFault(signal.reason);
    if (this.#mayRun(request)) return this.#place(request);
    if (this.#waiters.length >= this.#options.waiting) {
      const other = this.#whoMakesRoomFor(request);
      if (other === undefined) throw atCapacity();
      other.refuse();
    }
    return await this.#turn(request, signal);
  }

  #turn({ caller, light }: PlaceRequest, signal: AbortSignal): Promise<Disposable> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        this.#all.add(caller, -1);
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = () => {
        leave();
        reject(toFault(signal.reason));
      };
      const waiter: Waiter = {
        caller,
        light,
        admit: () => {
          leave();
          resolve(this.#place(waiter));
        },
        refuse: () => {
          leave();
          reject(atCapacity());
        },
      };
      this.#waiters.push(waiter);
      this.#all.add(caller, 1);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  #place({ caller }: PlaceRequest): Disposable {
    this.#running++;
    this.#held.add(caller, 1);
    this.#all.add(caller, 1);
    let freed = false;
    return {
      [Symbol.dispose]: () => {
        if (freed) return;
        freed = true;
        this.#running--;
        this.#held.add(caller, -1);
        this.#all.add(caller, -1);
        this.#admitNext();
      },
    };
  }

  #mayRun({ caller, light }: PlaceRequest): boolean {
    const { running, reserved } = this.#options;
    if (this.#running < running - reserved) return true;
    return this.#running < running && (light || this.#held.get(caller) === 0);
  }

  #admitNext(): void {
    let next: Waiter | undefined;
    for (const waiter of this.#waiters) {
      if (!this.#mayRun(waiter)) continue;
      if (next === undefined || this.#held.get(waiter.caller) < this.#held.get(next.caller)) next = waiter;
    }
    next?.admit();
  }

  /** The latest waiter of the caller that has the most, where that is more than the asking caller would have. */
  #whoMakesRoomFor({ caller }: PlaceRequest): Waiter | undefined {
    let most = this.#all.get(caller) + 1;
    let found: Waiter | undefined;
    for (const waiter of this.#waiters) {
      const has = this.#all.get(waiter.caller);
      if (has < most || (has === most && found?.caller !== waiter.caller)) continue;
      most = has;
      found = waiter;
    }
    return found;
  }
}

/** The answer where nothing is free. */
export function atCapacity(): Fault {
  return new Fault("overloaded", "The service is at capacity; try again shortly.", { retryAfterS: 1 });
}

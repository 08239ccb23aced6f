import { orAborted } from "@florence/service";

interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  callers: number;
  settled: boolean;
}

/** What a caller of SingleFlight gets. */
export interface Landing<T> {
  readonly value: T;
  /** Whether this caller joined a computation that another had begun. */
  readonly joined: boolean;
}

/**
 * Lets concurrent callers of one key share one computation. Nothing is kept afterwards, neither value nor error. There
 * are as many flights as callers at most, so whoever admits callers bounds them.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Computations under way. */
  get size(): number {
    return this.#flights.size;
  }

  /**
   * Joins the key's computation, or begins it. A caller whose signal aborts gets its reason and leaves; the others are
   * not disturbed. When the last one leaves, the signal that `compute` got aborts, and a later caller begins anew.
   */
  async run(key: string, compute: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<Landing<T>> {
    signal?.throwIfAborted();
    const existing = this.#flights.get(key);
    const flight = existing ?? this.#begin(key, compute);
    flight.callers++;
    try {
      return { value: await orAborted(flight.result, signal), joined: existing !== undefined };
    } finally {
      flight.callers--;
      if (flight.callers === 0) this.#leave(key, flight);
    }
  }

  #begin(key: string, compute: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const result = (async () => compute(controller.signal))();
    const flight: Flight<T> = { result, controller, callers: 0, settled: false };
    this.#flights.set(key, flight);
    const forget = () => {
      flight.settled = true;
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    // Also marks a rejection as handled: with all callers gone there may be nobody else to see it.
    flight.result.then(forget, forget);
    return flight;
  }

  #leave(key: string, flight: Flight<T>): void {
    if (flight.settled) return;
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
    flight.controller.abort();
  }
}

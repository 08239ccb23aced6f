/** How much of one thing each caller has. A caller that has nothing is forgotten, so this holds no more entries than there are holders. */
export class Shares {
  readonly #of = new Map<string, number>();

  get(caller: string): number {
    return this.#of.get(caller) ?? 0;
  }

  /** Adds, or with a negative amount takes away. */
  add(caller: string, amount: number): void {
    const left = this.get(caller) + amount;
    if (left > 0) this.#of.set(caller, left);
    else this.#of.delete(caller);
  }
}

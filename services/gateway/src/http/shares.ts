/** How much of one thing each peer has. A peer that has nothing is forgotten, so this holds no more entries than there are holders. */
export class Shares {
  readonly #of = new Map<string, number>();

  get(peer: string): number {
    return this.#of.get(peer) ?? 0;
  }

  /** Adds, or with a negative amount takes away. */
  add(peer: string, amount: number): void {
    const left = this.get(peer) + amount;
    if (left > 0) this.#of.set(peer, left);
    else this.#of.delete(peer);
  }
}

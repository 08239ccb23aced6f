/** Shows progress on stderr: a bar on a terminal, now and then a line elsewhere. */
export class Progress {
  readonly #label: string;
  #shown = -1;

  constructor(label: string) {
    this.#label = label;
  }

  /** May be called often: something is written only when a whole percent has changed. */
  readonly update = (done: number, total: number): void => {
    const percent = Math.floor((100 * done) / total);
    if (process.stderr.isTTY) {
      if (percent === this.#shown) return;
      const filled = Math.round(percent / 4);
      process.stderr.write(`\r${this.#label} [${"#".repeat(filled)}${" ".repeat(25 - filled)}] ${percent}%`);
      if (percent === 100) process.stderr.write("\n");
    } else if (Math.floor(percent / 25) !== Math.floor(this.#shown / 25)) {
      process.stderr.write(`${this.#label} ${percent}%\n`);
    }
    this.#shown = percent;
  };
}

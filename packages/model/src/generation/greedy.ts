import {
  type Advance,
  extend,
  firstHypothesis,
  type Hypothesis,
  nextCandidates,
  type RowOutput,
  type Search,
  type SearchSettings,
} from "./search.ts";

/** The best token at each step. */
export class GreedySearch implements Search {
  readonly #settings: SearchSettings;
  #hypothesis: Hypothesis;

  constructor(settings: SearchSettings) {
    this.#settings = settings;
    this.#hypothesis = firstHypothesis(settings);
  }

  get hypotheses(): readonly Hypothesis[] {
    return [this.#hypothesis];
  }

  advance(rows: readonly RowOutput[]): Advance {
    const best = nextCandidates(this.#settings, this.#hypothesis, rows[0] as RowOutput, 1)?.[0];
    if (!best) return { kind: "more" };
    this.#hypothesis = extend(this.#settings, this.#hypothesis, best);
    const { ids, logProbs } = this.#hypothesis;
    const full = ids.length > this.#settings.options.maxNewTokens;
    if (!full && !this.#settings.eos.includes(best.token)) return { kind: "continue", parents: [0] };
    const score = logProbs.reduce((sum, p) => sum + p, 0) / logProbs.length;
    return { kind: "done", finished: { ids, logProbs, score, reason: full ? "length" : "stop" } };
  }
}

import {
  type Advance,
  type Candidate,
  extend,
  type Finished,
  firstHypothesis,
  type Hypothesis,
  nextCandidates,
  type RowOutput,
  type Search,
  type SearchSettings,
} from "./search.ts";

interface Scored {
  readonly finished: Finished;
  readonly score: number;
}

/**
 * Beam search as the reference implementation does it (transformers' GenerationMixin._beam_search, one sequence):
 * the best 2K continuations of K running hypotheses are ranked together; an ended one is kept only when it ranks among the first K;
 * the K best that go on run next. It starts from one hypothesis: the reference's other K - 1 start at -1e9 and never win a place.
 */
export class BeamSearch implements Search {
  readonly #settings: SearchSettings;
  #running: Hypothesis[];
  /** Best first, at most K. */
  #ended: Scored[] = [];

  constructor(settings: SearchSettings) {
    this.#settings = settings;
    this.#running = [firstHypothesis(settings)];
  }

  get hypotheses(): readonly Hypothesis[] {
    return this.#running;
  }

  advance(rows: readonly RowOutput[]): Advance {
    const { options, eos } = this.#settings;
    const beams = options.numBeams;
    // One more round of candidates for each end token, so that K that go on are always among them.
    const wanted = Math.max(2, 1 + eos.length) * beams;
    const ranked: { parent: number; candidate: Candidate; score: number }[] = [];
    for (const [parent, h] of this.#running.entries()) {
      const candidates = nextCandidates(this.#settings, h, rows[parent] as RowOutput, wanted);
      if (!candidates) return { kind: "more" };
      for (const candidate of candidates) ranked.push({ parent, candidate, score: h.score + candidate.gain });
    }
    ranked.sort((a, b) => b.score - a.score || a.parent - b.parent || a.candidate.token - b.candidate.token);
    ranked.length = Math.min(ranked.length, wanted);

    const length = (this.#running[0] as Hypothesis).ids.length + 1;
    const full = length > options.maxNewTokens;
    const next: Hypothesis[] = [];
    const parents: number[] = [];
    for (const [rank, { parent, candidate }] of ranked.entries()) {
      const ends = eos.includes(candidate.token);
      if (!ends && !full) {
        if (next.length === beams) continue;
        next.push(extend(this.#settings, this.#running[parent] as Hypothesis, candidate));
        parents.push(parent);
      } else if (rank < beams) {
        this.#end(extend(this.#settings, this.#running[parent] as Hypothesis, candidate), full);
      }
    }
    this.#ended.sort((a, b) => b.score - a.score); // stable: earlier ones win ties
    this.#ended.length = Math.min(this.#ended.length, beams);

    // Once no running hypothesis can beat the worst ended one, nothing more would be accepted.
    if (next.length > 0 && this.#canImprove(next[0] as Hypothesis, length) && this.#open()) {
      this.#running = next;
      return { kind: "continue", parents };
    }
    return { kind: "done", finished: this.#best(full) };
  }

  #end(h: Hypothesis, full: boolean): void {
    const score = h.score / (h.ids.length - 1) ** this.#settings.options.lengthPenalty;
    this.#ended.push({
      score,
      finished: { ids: h.ids, logProbs: h.logProbs, score, reason: full ? "length" : "stop" },
    });
  }

  /** Whether ended answers are still taken: stopping early, the first K that end are the answer. */
  #open(): boolean {
    const { earlyStopping, numBeams } = this.#settings.options;
    return !(earlyStopping === true && this.#ended.length === numBeams);
  }

  /** Whether the best running hypothesis could still beat the worst ended one. */
  #canImprove(running: Hypothesis, length: number): boolean {
    const { numBeams, earlyStopping, lengthPenalty, maxNewTokens } = this.#settings.options;
    if (this.#ended.length < numBeams) return true;
    const reachable = earlyStopping === "never" && lengthPenalty > 0 ? maxNewTokens : length - 1;
    const best = running.score / reachable ** lengthPenalty;
    return best > (this.#ended.at(-1) as Scored).score;
  }

  #best(full: boolean): Finished {
    const best = this.#ended[0];
    if (best) return best.finished;
    const h = this.#running[0] as Hypothesis;
    return {
      ids: h.ids,
      logProbs: h.logProbs,
      score: h.score / (h.ids.length - 1) ** this.#settings.options.lengthPenalty,
      reason: full ? "length" : "stop",
    };
  }
}

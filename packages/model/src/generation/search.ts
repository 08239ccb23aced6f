import type { GenerationOptions } from "./options.ts";

/** One partial answer. */
export interface Hypothesis {
  /** Tokens from the decoder start token on. */
  readonly ids: readonly number[];
  /** Plain log-softmax of each token after the first: one fewer than ids. */
  readonly logProbs: readonly number[];
  /** Sum of log-probabilities, forced tokens counting 0. */
  readonly score: number;
}

/** What the decode graph says about one row: the best candidates in order, and what turns logits into log-probabilities. */
export interface RowOutput {
  readonly ids: ArrayLike<number>;
  readonly logits: ArrayLike<number>;
  readonly logSum: number;
  readonly forcedBosLogit: number;
  readonly forcedEosLogit: number;
  /** Every token's logit, present when a search asked for it. */
  readonly all?: Float32Array;
}

export interface Candidate {
  readonly token: number;
  /** Plain log-softmax of the logits. */
  readonly logProb: number;
  /** What the search adds up: logProb, or 0 for a forced token. */
  readonly gain: number;
}

/** What is fixed for a whole search. */
export interface SearchSettings {
  readonly options: GenerationOptions;
  readonly start: number;
  readonly eos: readonly number[];
  readonly forcedBos: number | undefined;
  readonly forcedEos: number | undefined;
  /** Ids from here on are padding of the embedding table, which no tokenizer knows. */
  readonly vocabulary: number;
}

export type FinishReason = "stop" | "length";

export interface Finished {
  readonly ids: readonly number[];
  readonly logProbs: readonly number[];
  /** Greedy: the mean log-probability. Beam search: sum of log-probabilities / length ** penalty, forced tokens counting 0. */
  readonly score: number;
  readonly reason: FinishReason;
}

/** What a search does with a step. */
export type Advance =
  /** The candidates did not suffice: give the same step again with all logits. */
  | { readonly kind: "more" }
  /** The hypotheses now live; parents[i] is the row that hypothesis i continues. */
  | { readonly kind: "continue"; readonly parents: readonly number[] }
  | { readonly kind: "done"; readonly finished: Finished };

/** One sequence's search: greedy or beams. Pure: it sees logits and decides. */
export interface Search {
  readonly hypotheses: readonly Hypothesis[];
  advance(rows: readonly RowOutput[]): Advance;
}

/** Tokens that would complete an n-gram that the hypothesis already holds. */
export function bannedByNgram(ids: readonly number[], n: number): Set<number> | undefined {
  if (n === 0 || ids.length + 1 < n) return undefined;
  const banned = new Set<number>();
  const tail = ids.length - (n - 1); // where the last n - 1 tokens begin
  for (let i = 0; i + n - 1 < ids.length; i++) {
    let same = true;
    for (let j = 0; same && j < n - 1; j++) same = ids[i + j] === ids[tail + j];
    if (same) banned.add(ids[i + n - 1] as number);
  }
  return banned;
}

/**
 * The best `count` tokens that may follow, best first: forced tokens first (they override all), then what the n-gram ban leaves.
 * Undefined when the row's candidates do not suffice to know them.
 */
export function nextCandidates(
  settings: SearchSettings,
  h: Hypothesis,
  row: RowOutput,
  count: number,
): Candidate[] | undefined {
  const { options, forcedBos, forcedEos } = settings;
  if (forcedEos !== undefined && h.ids.length === options.maxNewTokens)
    return [forced(forcedEos, row.forcedEosLogit - row.logSum)];
  if (forcedBos !== undefined && h.ids.length === 1) return [forced(forcedBos, row.forcedBosLogit - row.logSum)];
  const banned = bannedByNgram(h.ids, options.noRepeatNgramSize);
  const usable = (token: number) => token < settings.vocabulary && !banned?.has(token);
  const out: Candidate[] = [];
  const take = (token: number, logit: number) => {
    const logProb = logit - row.logSum;
    out.push({ token, logProb, gain: logProb });
  };
  if (row.all) {
    for (const token of bestOfAll(row.all, count, usable)) take(token, row.all[token] as number);
    return out;
  }
  for (let i = 0; i < row.ids.length && out.length < count; i++) {
    const token = row.ids[i] as number;
    if (usable(token)) take(token, row.logits[i] as number);
  }
  return out.length < count ? undefined : out;
}

function forced(token: number, logProb: number): Candidate {
  return { token, logProb, gain: 0 };
}

/** Indices of the `count` largest usable logits, largest first, lower index first among equals. */
function bestOfAll(logits: Float32Array, count: number, usable: (token: number) => boolean): number[] {
  const best: number[] = [];
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token] as number;
    if (best.length === count && logit <= (logits[best.at(-1) as number] as number)) continue;
    if (!usable(token)) continue;
    let at = best.length;
    while (at > 0 && (logits[best[at - 1] as number] as number) < logit) at--;
    best.splice(at, 0, token);
    if (best.length > count) best.pop();
  }
  return best;
}

export function extend(h: Hypothesis, c: Candidate): Hypothesis {
  return { ids: [...h.ids, c.token], logProbs: [...h.logProbs, c.logProb], score: h.score + c.gain };
}

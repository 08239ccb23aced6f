import type { Grammar, GrammarState } from "./grammar.ts";
import type { GenerationOptions } from "./options.ts";
import { bannedTokens, type GenerationRules, penalised } from "./rules.ts";

/** One partial answer. */
export interface Hypothesis {
  /** Tokens from the decoder start token on. */
  readonly ids: readonly number[];
  /** Plain log-softmax of each token after the first: one fewer than ids. */
  readonly logProbs: readonly number[];
  /** Sum of log-probabilities, forced tokens counting 0. */
  readonly score: number;
  /** How far a constrained answer has come. */
  readonly state?: GrammarState;
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
  /** What the checkpoint itself rules out or makes less likely. */
  readonly rules: GenerationRules;
  /** Ids from here on are padding of the embedding table, which no tokenizer knows. */
  readonly vocabulary: number;
  /** Allows only what keeps the answer well formed. */
  readonly grammar?: Grammar | undefined;
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

/**
 * The best `count` tokens that may follow, best first: forced tokens first (they override all), then what the n-gram ban and the
 * checkpoint's rules leave. Undefined when the row's candidates do not suffice to know them.
 */
export function nextCandidates(
  settings: SearchSettings,
  h: Hypothesis,
  row: RowOutput,
  count: number,
): Candidate[] | undefined {
  const { options, forcedBos, forcedEos, rules } = settings;
  if (forcedEos !== undefined && h.ids.length === options.maxNewTokens)
    return [forced(forcedEos, row.forcedEosLogit - row.logSum)];
  if (forcedBos !== undefined && h.ids.length === 1) return [forced(forcedBos, row.forcedBosLogit - row.logSum)];
  const { grammar } = settings;
  // Tokens that may still come after this one, the forced end included.
  const left = options.maxNewTokens - h.ids.length;
  const known = (token: number) => token < settings.vocabulary;
  const fits = (token: number) => known(token) && (!grammar || grammar.allows(h.state ?? grammar.start, token, left));
  const banned = bannedTokens(rules, h.ids, options.noRepeatNgramSize, settings.eos);
  const usable = (token: number) => !banned.has(token) && fits(token);
  const score = scoreOf(settings, h, row.logSum);
  const candidate = (token: number, logit: number): Candidate => {
    const logProb = logit - row.logSum;
    return { token, logProb, gain: score ? score(token, logit) : logProb };
  };
  if (row.all) {
    const { all } = row;
    let best = bestOfAll(all, count, usable, score);
    // Where the one token that the grammar leaves is banned as a repetition, being well formed comes first.
    if (best.length === 0) best = bestOfAll(all, count, fits, score);
    return best.map((token) => candidate(token, all[token] as number));
  }
  const out: Candidate[] = [];
  for (let i = 0; i < row.ids.length && (score !== undefined || out.length < count); i++) {
    const token = row.ids[i] as number;
    if (usable(token)) out.push(candidate(token, row.logits[i] as number));
  }
  if (score) {
    // A token outside the candidates scores at most what the last of them would without a penalty: better ones are certain.
    if (rules.repetitionPenalty < 1) return undefined;
    const last = row.ids.length - 1;
    const least = options.numBeams === 1 ? (row.logits[last] as number) : (row.logits[last] as number) - row.logSum;
    out.sort((a, b) => b.gain - a.gain || a.token - b.token);
    if (out.length < count || (out[count - 1] as Candidate).gain <= least) return undefined;
    out.length = count;
  }
  return out.length < count ? undefined : out;
}

/**
 * What candidates are ranked by where a repetition penalty holds: logits in greedy search, log-probabilities in beam search, as the
 * reference applies it. Undefined where logits alone decide.
 */
function scoreOf(
  { rules, options }: SearchSettings,
  h: Hypothesis,
  logSum: number,
): ((token: number, logit: number) => number) | undefined {
  if (rules.repetitionPenalty === 1) return undefined;
  const seen = new Set(h.ids);
  const shift = options.numBeams === 1 ? 0 : logSum;
  return (token, logit) => (seen.has(token) ? penalised(logit - shift, rules.repetitionPenalty) : logit - shift);
}

function forced(token: number, logProb: number): Candidate {
  return { token, logProb, gain: 0 };
}

/** Indices of the `count` usable logits of the highest score, best first, lower index first among equals. */
function bestOfAll(
  logits: Float32Array,
  count: number,
  usable: (token: number) => boolean,
  score: ((token: number, logit: number) => number) | undefined,
): number[] {
  const best: number[] = [];
  const scores: number[] = [];
  for (let token = 0; token < logits.length; token++) {
    const value = score ? score(token, logits[token] as number) : (logits[token] as number);
    if (best.length === count && value <= (scores.at(-1) as number)) continue;
    if (!usable(token)) continue;
    let at = best.length;
    while (at > 0 && (scores[at - 1] as number) < value) at--;
    best.splice(at, 0, token);
    scores.splice(at, 0, value);
    if (best.length > count) {
      best.pop();
      scores.pop();
    }
  }
  return best;
}

/** The hypothesis that a search begins with. */
export function firstHypothesis(settings: SearchSettings): Hypothesis {
  return { ids: [settings.start], logProbs: [], score: 0, ...(settings.grammar && { state: settings.grammar.start }) };
}

export function extend(settings: SearchSettings, h: Hypothesis, c: Candidate): Hypothesis {
  const grown = { ids: [...h.ids, c.token], logProbs: [...h.logProbs, c.logProb], score: h.score + c.gain };
  return h.state && settings.grammar ? { ...grown, state: settings.grammar.next(h.state, c.token) } : grown;
}

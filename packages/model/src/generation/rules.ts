import type { GenerationConfig } from "../checkpoint/config.ts";

/** What a checkpoint's own settings rule out or make less likely, whatever a request asks. */
export interface GenerationRules {
  /** No end before an answer has so many tokens, the start token included. */
  readonly minLength: number;
  readonly repetitionPenalty: number;
  readonly suppressTokens: readonly number[];
  readonly beginSuppressTokens: readonly number[];
  /** How many tokens an answer has where beginSuppressTokens hold. */
  readonly begin: number;
  readonly badWords: readonly (readonly number[])[];
}

export function rulesOf(config: GenerationConfig): GenerationRules {
  const { minLength, repetitionPenalty, suppressTokens, beginSuppressTokens, badWords, forcedBos } = config;
  return {
    minLength,
    repetitionPenalty,
    suppressTokens,
    beginSuppressTokens,
    begin: forcedBos === undefined ? 1 : 2, // the first token that is not forced
    badWords,
  };
}

/** The tokens that may not follow `ids`: repetitions of n-grams of `ngram` tokens, and what the rules forbid. */
export function bannedTokens(
  rules: GenerationRules,
  ids: readonly number[],
  ngram: number,
  eos: readonly number[],
): Set<number> {
  const banned = bannedByNgram(ids, ngram);
  for (const id of rules.suppressTokens) banned.add(id);
  if (ids.length === rules.begin) for (const id of rules.beginSuppressTokens) banned.add(id);
  if (ids.length < rules.minLength) for (const id of eos) banned.add(id);
  for (const run of rules.badWords) {
    const last = run.at(-1) as number;
    const before = run.length - 1;
    const isEnd = before === 0 && eos.includes(last); // the end is never a bad word
    // As in the reference, a run as long as the answer so far and one more is not looked for.
    if (!isEnd && run.length <= ids.length && endsWith(ids, run, before)) banned.add(last);
    else if (!isEnd && before === 0) banned.add(last);
  }
  return banned;
}

/** Whether the last `count` ids are the first `count` of `run`. */
function endsWith(ids: readonly number[], run: readonly number[], count: number): boolean {
  for (let i = 0; i < count; i++) if (ids[ids.length - count + i] !== run[i]) return false;
  return true;
}

/** Tokens that would complete an n-gram that the ids already hold. */
export function bannedByNgram(ids: readonly number[], n: number): Set<number> {
  const banned = new Set<number>();
  if (n === 0 || ids.length + 1 < n) return banned;
  const tail = ids.length - (n - 1); // where the last n - 1 tokens begin
  for (let i = 0; i + n - 1 < ids.length; i++) {
    let same = true;
    for (let j = 0; same && j < n - 1; j++) same = ids[i + j] === ids[tail + j];
    if (same) banned.add(ids[i + n - 1] as number);
  }
  return banned;
}

/** A score made worse by the penalty, as the reference has it: positive ones divided, negative ones multiplied. */
export function penalised(score: number, penalty: number): number {
  return score < 0 ? score * penalty : score / penalty;
}

import { describe, expect, test } from "vitest";
import { BeamSearch } from "../src/generation/beam.ts";
import { GreedySearch } from "../src/generation/greedy.ts";
import type { GenerationOptions } from "../src/generation/options.ts";
import { bannedByNgram, bannedTokens, type GenerationRules } from "../src/generation/rules.ts";
import type { Finished, RowOutput, SearchSettings } from "../src/generation/search.ts";
import { random } from "./random.ts";

const noRules: GenerationRules = {
  minLength: 0,
  repetitionPenalty: 1,
  suppressTokens: [],
  beginSuppressTokens: [],
  begin: 1,
  badWords: [],
};

const vocabulary = 12;
const start = 2;
const improbable = -1e9; // the reference's stand-in for "not a candidate"

/** A language model of nothing: log-probabilities of the next token from a hash of what came before. */
function logProbsAfter(seed: number, ids: readonly number[]): number[] {
  const next = random(ids.reduce((h, id) => Math.imul(h ^ id, 0x01000193), seed ^ 0x811c9dc5));
  const logits = Array.from({ length: vocabulary }, () => 4 * next());
  const sum = Math.log(logits.reduce((n, l) => n + Math.exp(l), 0));
  return logits.map((l) => l - sum);
}

// What the graph's logits are above log-probabilities: any shift will do in beam search.
const shift = 3;

/** The reference's processors on a whole row, one after the other in its order: banned = -Infinity, forced = 0. */
function processed(settings: SearchSettings, ids: readonly number[], row: readonly number[]): number[] {
  const { options, forcedBos, forcedEos, rules, eos } = settings;
  const only = (token: number) => row.map((_, t) => (t === token ? 0 : Number.NEGATIVE_INFINITY));
  const ban = (tokens: readonly number[], from: readonly number[]) =>
    from.map((p, t) => (tokens.includes(t) ? Number.NEGATIVE_INFINITY : p));
  // Greedy search's processors see logits, beam search's see log-probabilities.
  let scores = row.map((p) => p + (options.numBeams === 1 ? shift : 0));
  scores = scores.map((p, t) =>
    ids.includes(t) ? (p < 0 ? p * rules.repetitionPenalty : p / rules.repetitionPenalty) : p,
  );
  scores = ban([...bannedByNgram(ids, options.noRepeatNgramSize)], scores);
  for (const word of rules.badWords) {
    if (word.length === 1 && eos.includes(word[0] as number)) continue;
    if (word.length > 1 && word.length > ids.length) continue;
    const ends = word.slice(0, -1).every((id, i) => ids[ids.length - (word.length - 1) + i] === id);
    if (ends) scores = ban(word.slice(-1), scores);
  }
  if (ids.length < rules.minLength) scores = ban(eos, scores);
  if (forcedBos !== undefined && ids.length === 1) scores = only(forcedBos);
  if (forcedEos !== undefined && ids.length === options.maxNewTokens) return only(forcedEos);
  if (forcedBos !== undefined && ids.length === 1) return scores;
  scores = ban(rules.suppressTokens, scores);
  return ids.length === rules.begin ? ban(rules.beginSuppressTokens, scores) : scores;
}

/**
 * Beam search written the way the reference has it: K beams from the start, all but one at -1e9, K finished places at -1e9, everything
 * ranked over the whole vocabulary. Slow and plain, to hold the fast one against.
 */
function plainBeamSearch(settings: SearchSettings, seed: number): { ids: readonly number[]; score: number } {
  const { options, eos } = settings;
  const k = options.numBeams;
  const keep = Math.max(2, 1 + eos.length) * k;
  let running = Array.from({ length: k }, (_, i) => ({ ids: [start], score: i === 0 ? 0 : improbable }));
  let finished = Array.from({ length: k }, () => ({ ids: [start], score: improbable, done: false }));
  let unsatisfied = true;
  for (;;) {
    const candidates = running
      .flatMap((beam, parent) =>
        processed(settings, beam.ids, logProbsAfter(seed, beam.ids)).map((p, token) => ({
          parent,
          token,
          ids: [...beam.ids, token],
          score: beam.score + p,
        })),
      )
      .sort((a, b) => b.score - a.score || a.parent - b.parent || a.token - b.token)
      .slice(0, keep);
    const length = (running[0]?.ids.length as number) + 1;
    const hits = candidates.map((c) => eos.includes(c.token) || length > options.maxNewTokens);
    const full = finished.every((f) => f.done) && options.earlyStopping === true;
    const ended = candidates.map((c, rank) => ({
      ids: c.ids,
      score:
        c.score / (length - 1) ** options.lengthPenalty +
        (full || !unsatisfied || !(hits[rank] && rank < k) ? improbable : 0),
      done: (hits[rank] as boolean) && rank < k && !full && unsatisfied,
    }));
    finished = [...finished, ...ended].sort((a, b) => b.score - a.score).slice(0, k);
    running = candidates
      .map((c, i) => ({ ids: c.ids, score: c.score + (hits[i] ? improbable : 0) }))
      .sort((a, b) => b.score - a.score)
      .slice(0, k);
    const reach = options.earlyStopping === "never" && options.lengthPenalty > 0 ? options.maxNewTokens : length - 1;
    const best = (running[0]?.score as number) / reach ** options.lengthPenalty;
    const worst = Math.min(...finished.map((f) => f.score));
    unsatisfied &&= finished.some((f) => best > (f.done ? worst : improbable));
    const open = !(finished.every((f) => f.done) && options.earlyStopping === true);
    if (!unsatisfied || !open || hits.every(Boolean)) break;
  }
  return finished[0] as { ids: number[]; score: number };
}

function search(settings: SearchSettings, seed: number, candidates: number): Finished {
  const found = settings.options.numBeams === 1 ? new GreedySearch(settings) : new BeamSearch(settings);
  for (;;) {
    const rowOf = (ids: readonly number[], all: boolean): RowOutput => {
      const logits = logProbsAfter(seed, ids).map((p) => p + shift);
      const order = logits
        .map((_, t) => t)
        .sort((a, b) => (logits[b] as number) - (logits[a] as number))
        .slice(0, candidates);
      const of = (token: number | undefined) => logits[token ?? 0] as number;
      return {
        ids: order,
        logits: order.map((t) => logits[t] as number),
        logSum: shift,
        forcedBosLogit: of(settings.forcedBos),
        forcedEosLogit: of(settings.forcedEos),
        ...(all && { all: Float32Array.from(logits) }),
      };
    };
    const { hypotheses } = found;
    let advance = found.advance(hypotheses.map((h) => rowOf(h.ids, false)));
    if (advance.kind === "more") advance = found.advance(hypotheses.map((h) => rowOf(h.ids, true)));
    if (advance.kind === "done") return advance.finished;
    if (advance.kind === "more") throw new Error("all logits did not suffice");
    expect(found.hypotheses.length).toBe(advance.parents.length);
  }
}

const settingsOf = (
  options: GenerationOptions,
  eos: readonly number[],
  forced: boolean,
  rules: GenerationRules = noRules,
): SearchSettings => ({
  rules: { ...rules, begin: forced ? 2 : 1 },
  options,
  start,
  eos,
  forcedBos: forced ? 0 : undefined,
  forcedEos: forced ? 2 : undefined,
  vocabulary,
});

/** Rules of every kind, none strict enough to leave no token. */
function someRules(next: () => number): GenerationRules {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  return {
    ...noRules,
    minLength: pick([0, 0, 3, 6]),
    repetitionPenalty: pick([1, 1, 1.3, 2, 0.7]),
    suppressTokens: pick([[], [], [4]]),
    beginSuppressTokens: pick([[], [], [1, 9]]),
    badWords: pick([[], [], [[6]], [[8, 3], [2]], [[3, 3, 10]]]),
  };
}

describe("beam search equals the reference's, written plainly, on 2,000 random models", () => {
  test.each([2, 3, 4, 5])(
    "with %i beams: any length, penalty, stopping rule, ban, end tokens and checkpoint's rules",
    (numBeams) => {
      const next = random(numBeams);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
      for (let seed = 0; seed < 500; seed++) {
        const options: GenerationOptions = {
          numBeams,
          maxNewTokens: 1 + Math.floor(next() * 14),
          lengthPenalty: pick([1, 1, 0, 0.5, 2, -1]),
          noRepeatNgramSize: pick([0, 2, 3, 3]),
          earlyStopping: pick([true, false, "never"] as const),
        };
        const settings = settingsOf(options, pick([[2], [2], [2, 5], [2, 5, 7]]), next() < 0.7, someRules(next));
        const expected = plainBeamSearch(settings, seed);
        const found = search(settings, seed, pick([4, 12]));
        const what = JSON.stringify({ seed, ...settings });
        expect(found.ids, what).toEqual(expected.ids);
        expect(found.score, what).toBeCloseTo(expected.score, 5);
      }
    },
  );
});

test("greedy search takes the best token that is left, and says the mean of its plain log-probabilities", () => {
  const next = random(1);
  for (let seed = 0; seed < 400; seed++) {
    const options: GenerationOptions = {
      numBeams: 1,
      maxNewTokens: 20,
      lengthPenalty: 1,
      noRepeatNgramSize: 2,
      earlyStopping: true,
    };
    const settings = settingsOf(options, [2], true, seed < 200 ? noRules : someRules(next));
    const { ids, logProbs, score, reason } = search(settings, seed, 3);
    let grown: number[] = [start];
    for (const [i, id] of ids.slice(1).entries()) {
      const row = logProbsAfter(seed, grown);
      const usable = processed(settings, grown, row);
      expect(id).toBe(usable.indexOf(Math.max(...usable)));
      expect(logProbs[i]).toBeCloseTo(row[id] as number, 5);
      grown = [...grown, id];
    }
    expect(score).toBeCloseTo(logProbs.reduce((n, p) => n + p, 0) / logProbs.length, 6);
    expect(ids.at(-1)).toBe(2);
    expect(reason).toBe(ids.length === 21 ? "length" : "stop");
  }
});

test("an n-gram is banned when it would occur a second time, and only then", () => {
  expect(bannedByNgram([2, 0, 5, 6, 0, 5], 3)).toEqual(new Set([6]));
  expect(bannedByNgram([2, 0, 5, 6], 3)).toEqual(new Set());
  expect(bannedByNgram([2, 2], 3)).toEqual(new Set());
  expect(bannedByNgram([1, 2, 3, 1], 2)).toEqual(new Set([2]));
  expect(bannedByNgram([4, 5, 4], 1)).toEqual(new Set([4, 5]));
  expect(bannedByNgram([4, 5, 4], 0)).toEqual(new Set());
});

test("bad words are banned where they would be completed, one at a time, and the end is never one", () => {
  const rules = { ...noRules, badWords: [[7], [5, 6], [2], [1, 2, 3, 4]] };
  expect(bannedTokens(rules, [2, 0], 0, [2])).toEqual(new Set([7]));
  expect(bannedTokens(rules, [2, 5], 0, [2])).toEqual(new Set([7, 6]));
  expect(bannedTokens(rules, [5], 0, [2])).toEqual(new Set([7])); // as the reference: the run is longer than what is there
  expect(bannedTokens(rules, [9, 1, 2, 3], 0, [2])).toEqual(new Set([7, 4]));
});

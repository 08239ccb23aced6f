import { Fault } from "@florence/service";
import { expect, test } from "vitest";
import { createRetries, PeerAbsent, RetryBudget } from "../src/peers/retry.ts";
import { data, problemOf, startStack } from "./stack.ts";

const call = { image: { data }, tasks: [{ task: "caption" }] };
const refuse = async (): Promise<never> => {
  throw new Fault("unavailable", "Restarting.");
};
const refuseAll = {
  // biome-ignore lint/correctness/useYield: it refuses before its first event.
  async *generate() {
    throw new Fault("unavailable", "Restarting.");
  },
};

test("an image that no encoder takes is sent six times, to different ones while there are some", async () => {
  await using stack = await startStack({ encoder: Array(4).fill({ encode: refuse }) });
  expect(await problemOf(await stack.json(call))).toMatchObject({ status: 503, code: "unavailable" });
  expect(stack.encodedBy).toHaveLength(6);
  expect(new Set(stack.encodedBy.slice(0, 4)).size).toBe(4);
});

test("tasks that no decoder takes are sent five times, to different ones while there are some", async () => {
  await using stack = await startStack({ decoder: Array(4).fill(refuseAll) });
  expect(await problemOf(await stack.json(call))).toMatchObject({ status: 503, code: "unavailable" });
  expect(stack.generatedBy).toHaveLength(5);
  expect(new Set(stack.generatedBy.slice(0, 4)).size).toBe(4);
});

const remaining = (ms: number) => ({ remainingMs: () => ms });
const absence = (about: { refused: boolean; othersLeft: boolean }) =>
  new PeerAbsent(new Fault("unavailable", "Gone."), about);

test("while others are there they are asked at once, and after that with growing pauses, until all tries are used", () => {
  const tries = createRetries().encode(remaining(60_000));
  const error = absence({ refused: true, othersLeft: true });
  expect(Array.from({ length: 6 }, () => tries.again(error))).toEqual([0, 0, 250, 750, 1_500, undefined]);
});

test("nothing but unavailable is tried again, and nothing for which there is no time left", () => {
  const retries = createRetries();
  expect(retries.encode(remaining(60_000)).again(new Fault("internal", "Broken."))).toBeUndefined();
  expect(retries.encode(remaining(60_000)).again(new Fault("overloaded", "Busy."))).toBeUndefined();
  expect(retries.encode(remaining(200)).again(new Fault("unavailable", "Gone."))).toBeUndefined();
  expect(retries.encode(remaining(300)).again(new Fault("unavailable", "Gone."))).toBe(250);
});

test("refusals cost no budget, lost work does, and trouble with one service leaves the other's alone", () => {
  const retries = createRetries();
  const first = (about: { refused: boolean; othersLeft: boolean }) =>
    retries.encode(remaining(60_000)).again(absence(about));
  for (let i = 0; i < 100; i++) expect(first({ refused: true, othersLeft: true })).toBe(0);
  const lost = Array.from({ length: 100 }, () => first({ refused: false, othersLeft: true }));
  const tried = lost.filter((pauseMs) => pauseMs !== undefined).length;
  expect(tried).toBeGreaterThanOrEqual(20);
  expect(tried).toBeLessThanOrEqual(40);
  const generate = retries.generate(remaining(60_000));
  expect(generate.again(absence({ refused: false, othersLeft: true }))).toBe(0);
});

test("second tries are a share of all calls, and a burst is bounded", () => {
  const budget = new RetryBudget();
  let taken = 0;
  while (budget.take()) taken++;
  expect(taken).toBe(20);
  for (let i = 0; i < 100; i++) budget.call();
  taken = 0;
  while (budget.take()) taken++;
  expect(taken).toBeGreaterThanOrEqual(19);
  expect(taken).toBeLessThanOrEqual(20);
});

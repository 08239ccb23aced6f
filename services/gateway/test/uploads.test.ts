import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Uploads } from "../src/http/uploads.ts";

const tooSlow = expect.objectContaining({ code: "body_too_slow" });
const cut = async ({ signal }: { signal: AbortSignal }) => {
  if (!signal.aborted) await once(signal, "abort");
};

test("who sends nothing is cut off after a moment, who sends at the least rate is not", async () => {
  const uploads = new Uploads({ max: 10, callerMax: 10, bytesPerSecondMin: 1000 });
  const silent = uploads.open("a");
  using steady = uploads.open("a");
  const sending = setInterval(() => steady.received(500), 100);
  await cut(silent);
  await sleep(1_000);
  clearInterval(sending);
  expect(silent.signal.reason).toEqual(tooSlow);
  expect(steady.signal.aborted).toBe(false);
  expect(uploads.size).toBe(1);
  await cut(steady); // What it has saved up ends, too.
  expect(uploads.size).toBe(0);
}, 15_000);

test("without a least rate nobody is cut off", async () => {
  const uploads = new Uploads({ max: 10, callerMax: 10, bytesPerSecondMin: 0 });
  using silent = uploads.open("a");
  silent.received(0);
  await sleep(1_600);
  expect(silent.signal.aborted).toBe(false);
});

test("when there is no room, whoever is furthest behind of the caller that has the most makes some; who sends does not", async () => {
  const uploads = new Uploads({ max: 4, callerMax: 3, bytesPerSecondMin: 1000 });
  const [idle, sending, late] = [uploads.open("a"), uploads.open("a"), uploads.open("a")];
  const lone = uploads.open("b");
  expect(() => uploads.open("b")).toThrow(expect.objectContaining({ code: "overloaded" })); // Nobody is behind yet.
  await sleep(400);
  sending?.received(10_000);
  late?.received(100);
  const next = uploads.open("c");
  expect(idle?.signal.reason).toEqual(tooSlow);
  expect([sending, late, lone, next].map((it) => it?.signal.aborted)).toEqual([false, false, false, false]);
  for (const upload of [idle, sending, late, lone, next]) upload?.[Symbol.dispose]();
  expect(uploads.size).toBe(0);
});

test("a caller that has its share makes room out of its own", async () => {
  const uploads = new Uploads({ max: 100, callerMax: 2, bytesPerSecondMin: 1000 });
  const [first] = [uploads.open("a"), uploads.open("a"), uploads.open("b")];
  expect(() => uploads.open("a")).toThrow(expect.objectContaining({ code: "overloaded" }));
  await sleep(300);
  uploads.open("a");
  expect(first?.signal.reason).toEqual(tooSlow);
  expect(uploads.size).toBe(3);
});

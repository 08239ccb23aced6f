import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { WriteBehind, type WriteBehindOptions, type WriteOutcome } from "../../src/nats/write-behind.ts";

const bytes = (fill: number, length = 10) => new Uint8Array(length).fill(fill);

/** A store whose writes end when the test says so. */
function queue(options: Partial<WriteBehindOptions> = {}) {
  const writes: { key: string; value: Uint8Array; end: (outcome: WriteOutcome) => void }[] = [];
  const state = { ready: true };
  const counts = { written: 0, dropped: 0, failed: 0 };
  const made = new WriteBehind({
    write: (key, value) => {
      const { promise, resolve } = Promise.withResolvers<WriteOutcome>();
      writes.push({ key, value, end: resolve });
      return promise;
    },
    ready: () => state.ready,
    bytesMax: 50,
    entriesMax: 100,
    concurrency: 2,
    onOutcome: (outcome) => void counts[outcome]++,
    ...options,
  });
  const end = async (outcome: WriteOutcome["outcome"]) => {
    writes.shift()?.end(outcome === "written" ? { outcome } : { outcome, reason: "a test" });
    await turn();
  };
  return { queue: made, counts, writes, state, end };
}

test("a few are written at a time, in order", async () => {
  const { queue: made, counts, writes, end } = queue();
  for (const key of ["a", "b", "c", "d"]) made.put(key, bytes(1));
  expect(writes.map(({ key }) => key)).toEqual(["a", "b"]);
  await end("written");
  expect(writes.map(({ key }) => key)).toEqual(["b", "c"]);
  expect(counts).toMatchObject({ written: 1 });
  expect(made).toMatchObject({ entries: 3, bytes: 30 });
  for (let index = 0; index < 3; index++) await end("written");
  expect(counts).toEqual({ written: 4, dropped: 0, failed: 0 });
  expect(made).toMatchObject({ entries: 0, bytes: 0 });
});

test("without room the oldest go, and what is held stays within its bytes", () => {
  const { queue: made, counts, state, writes } = queue({ concurrency: 8 });
  state.ready = false;
  for (const key of "abcdefgh") {
    made.put(key, bytes(1));
    expect(made.bytes).toBeLessThanOrEqual(50);
  }
  expect(counts.dropped).toBe(3);
  expect(made.entries).toBe(5);
  state.ready = true;
  made.resume();
  expect(writes.map(({ key }) => key)).toEqual(["d", "e", "f", "g", "h"]);
});

test("what is being written is never let go, and a value without room is", () => {
  const { queue: made, counts, writes } = queue({ bytesMax: 20 });
  made.put("a", bytes(1));
  made.put("b", bytes(1));
  made.put("c", bytes(1));
  made.put("huge", bytes(1, 1000));
  expect(writes).toHaveLength(2);
  expect(counts).toMatchObject({ dropped: 2 });
  expect(made).toMatchObject({ entries: 2, bytes: 20 });
});

test("a newer value takes the place of one that waits, and follows one that is being written", async () => {
  const { queue: made, counts, writes, end } = queue();
  made.put("a", bytes(1));
  made.put("a", bytes(2));
  made.put("a", bytes(3));
  expect(writes).toHaveLength(1);
  await end("written");
  expect(writes.map(({ value }) => value[0])).toEqual([3]);
  await end("written");
  expect(counts).toMatchObject({ written: 2, dropped: 0 });
  expect(made).toMatchObject({ entries: 0, bytes: 0 });
});

test("a failed write is tried again, but not for ever, and a refused one is not", async () => {
  const { queue: made, counts, writes, end } = queue({ concurrency: 1 });
  made.put("again", bytes(1));
  await end("again");
  await end("again");
  expect(writes).toHaveLength(1);
  await end("again");
  expect(writes).toHaveLength(0);
  made.put("refused", bytes(1));
  await end("refused");
  expect(counts).toMatchObject({ failed: 2 });
  expect(made).toMatchObject({ entries: 0, bytes: 0 });
});

test("closing waits for what is under way, and takes nothing more", async () => {
  const { queue: made, counts, writes, end } = queue();
  for (const key of ["a", "b", "c"]) made.put(key, bytes(1));
  const closed = made.close(60_000);
  while (writes.length > 0) await end("written");
  await closed;
  made.put("late", bytes(1));
  expect(counts).toMatchObject({ written: 3, dropped: 1 });
  expect(made).toMatchObject({ entries: 0, bytes: 0 });
});

test("closing lets go of what cannot be written in time", async () => {
  const { queue: made, counts } = queue();
  for (const key of ["a", "b", "c"]) made.put(key, bytes(1));
  await made.close(1);
  expect(counts).toMatchObject({ written: 0, dropped: 1 });
  expect(made).toMatchObject({ entries: 2 });
});

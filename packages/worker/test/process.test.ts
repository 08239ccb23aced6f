import { Fault } from "@florence/service";
import { afterEach, expect, test } from "vitest";
import { ProcessPool } from "../src/index.ts";

const url = new URL("./fixtures/process.ts", import.meta.url);
const MiB = 1024 * 1024;
const { signal } = new AbortController();

const open: ProcessPool[] = [];
afterEach(async () => {
  for (const pool of open.splice(0)) await pool[Symbol.asyncDispose]();
});

async function pool(count = 2, greeting = "hello") {
  const options = { name: "test", count, waitingMax: 4, memoryBytesMax: 400 * MiB, bodyBytesMax: 64 * MiB };
  const started = await ProcessPool.start(url, { greeting }, options);
  open.push(started);
  return started;
}

const ask = (behaviour: string, body = new Uint8Array(0), timeMsMax = 30_000) => ({
  request: { behaviour },
  body,
  timeMsMax,
});

test("a body of many megabytes comes back whole, and requests do not mix", async () => {
  const processes = await pool();
  const bodies = [17 * MiB, 0, 1, 65_537].map((length, seed) =>
    Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255),
  );
  const answers = await Promise.all(bodies.map((body) => processes.call(ask("reverse", body), signal)));
  for (const [i, { result, body }] of answers.entries()) {
    expect(result).toMatchObject({ greeting: "hello", bytes: bodies[i]?.length });
    expect(Buffer.compare(body, (bodies[i] as Uint8Array).toReversed())).toBe(0);
  }
});

test("a handler's fault keeps its code, and any other error says nothing to the caller", async () => {
  const processes = await pool(1);
  await expect(processes.call(ask("refuse"), signal)).rejects.toMatchObject({ code: "image_undecodable" });
  const error = await processes.call(ask("throw"), signal).catch((e: unknown) => e);
  expect(error).not.toBeInstanceOf(Fault);
  await expect(processes.call(ask("reverse"), signal)).resolves.toBeDefined();
});

test.each([
  ["loop", "time"],
  ["grow", "memory"],
  ["crash", "crash"],
])(
  "work that does nothing but %s ends by %s, costs nobody else, and the process is replaced",
  async (behaviour, why) => {
    const processes = await pool(2);
    const hostile = processes.call(ask(behaviour, undefined, behaviour === "loop" ? 300 : 30_000), signal);
    hostile.catch(() => {});
    const good = await processes.call(ask("reverse", new Uint8Array([1, 2])), signal);
    expect([...good.body]).toEqual([2, 1]);
    await expect(hostile).rejects.toMatchObject({ name: "ProcessEnded", why });
    // Both places work again once the process has been replaced.
    for (const pids = new Set<unknown>(); pids.size < 2; ) {
      const both = [1, 2].map(() => processes.call(ask("pid"), signal).catch(() => undefined));
      for (const answer of await Promise.all(both)) if (answer) pids.add((answer.result as { pid: number }).pid);
    }
  },
);

test("more callers than may wait are refused, and one that gives up leaves the line", async () => {
  const processes = await pool(1);
  const running = processes.call(ask("loop", undefined, 500), signal).catch((error: unknown) => error);
  const leaving = new AbortController();
  const waiting = Array.from({ length: 4 }, () => processes.call(ask("reverse"), leaving.signal));
  for (const call of waiting) call.catch(() => {});
  await expect(processes.call(ask("reverse"), signal)).rejects.toMatchObject({ code: "overloaded" });
  leaving.abort();
  for (const call of waiting) await expect(call).rejects.toMatchObject({ code: "cancelled" });
  expect(await running).toMatchObject({ why: "time" });
});

test("a process that cannot start fails the pool's start with its error", async () => {
  await expect(pool(2, "bad")).rejects.toThrow("This process cannot start.");
});

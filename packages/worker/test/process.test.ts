import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createEvents, Fault } from "@florence/service";
import { afterEach, expect, test } from "vitest";
import { ProcessPool, processEvents } from "../src/index.ts";

const url = new URL("./fixtures/process.ts", import.meta.url);
const MiB = 1024 * 1024;
const { signal } = new AbortController();

const open: ProcessPool[] = [];
let heard: string[] = [];
afterEach(async () => {
  for (const pool of open.splice(0)) await pool[Symbol.asyncDispose]();
  heard = [];
});

async function pool(count = 2, greeting = "hello") {
  const started = await ProcessPool.start(
    url,
    { greeting },
    {
      name: "test",
      count,
      waitingMax: 4,
      memoryBytesMax: 400 * MiB,
      idleBytesMax: 200 * MiB,
      bodyBytesMax: 64 * MiB,
      events: createEvents(processEvents, [
        {
          processKilled: ({ why }) => heard.push(why),
          processReplaced: () => heard.push("replaced"),
          processFailed: () => heard.push("failed"),
        },
      ]),
    },
  );
  open.push(started);
  return started;
}

const ask = (behaviour: string, body = new Uint8Array(0), timeMsMax = 30_000) => ({
  request: { behaviour },
  body,
  timeMsMax,
  memoryBytesMax: 400 * MiB,
});

const pidOf = async (processes: ProcessPool) =>
  ((await processes.call(ask("reverse"), signal)).result as { pid: number }).pid;

/** Whether a process runs; one that has ended and that nobody has asked about does not. */
function isAlive(pid: number): boolean {
  try {
    const stat = `/proc/${pid}/stat`;
    return process.kill(pid, 0) && !(existsSync(stat) && readFileSync(stat, "utf8").includes(") Z "));
  } catch {
    return false;
  }
}

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
  ["native", "time"],
  ["grow", "memory"],
  ["crash", "crash"],
])(
  "work that does nothing but %s ends by %s, costs nobody else, and its process is replaced",
  async (behaviour, why) => {
    const processes = await pool(2);
    const limitMs = why === "time" ? 300 : 30_000;
    const hostile = processes.call(ask(behaviour, undefined, limitMs), signal);
    hostile.catch(() => {});
    const good = await processes.call(ask("reverse", new Uint8Array([1, 2])), signal);
    expect([...good.body]).toEqual([2, 1]);
    await expect(hostile).rejects.toMatchObject({ name: "ProcessEnded", why });
    expect(processes.ready).toBe(true);
    // Both places work again once the process has been replaced.
    for (const pids = new Set<number>(); pids.size < 2; ) {
      for (const pid of await Promise.all([pidOf(processes), pidOf(processes)])) pids.add(pid);
    }
    expect(heard).toEqual([why, "replaced"]);
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

test("a caller that gives up is let go at once; its work keeps the process to itself until its end", async () => {
  const processes = await pool(1);
  const leaving = new AbortController();
  const call = processes.call(ask("loop", undefined, 500), leaving.signal);
  leaving.abort(new Fault("cancelled", "Gone."));
  await expect(call).rejects.toMatchObject({ code: "cancelled" });
  expect(heard).toEqual([]);
  await pidOf(processes);
  expect(heard).toEqual(["time", "replaced"]);
});

test("a process that ends while nobody asks it anything is replaced, and no call fails of it", async () => {
  const processes = await pool(1);
  const before = await pidOf(processes);
  // It answers this one and then ends.
  await processes.call(ask("exit"), signal);
  while (heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(await pidOf(processes)).not.toBe(before);
  expect(heard).toEqual(["crash", "replaced"]);
});

test("a process that keeps memory is replaced after its answer, which is no failure", async () => {
  const processes = await pool(1);
  const { result } = await processes.call(ask("hold"), signal);
  const after = await pidOf(processes);
  // Elsewhere resident memory is not known.
  if (process.platform === "linux") expect(after).not.toBe((result as { pid: number }).pid);
  expect(heard.includes("memory")).toBe(false);
});

test("what a library says without end neither stops the process nor reaches our own output", async () => {
  const processes = await pool(1);
  await expect(processes.call(ask("chatter"), signal)).resolves.toBeDefined();
});

test("a process sees nothing of the environment", async () => {
  const processes = await pool(1);
  const { result } = await processes.call(ask("env"), signal);
  const { names } = result as { names: string[] };
  // What the shell adds by itself.
  expect(names.filter((name) => !["PWD", "SHLVL", "_", "OLDPWD"].includes(name)).toSorted()).toEqual([
    "MALLOC_ARENA_MAX",
    "UV_THREADPOOL_SIZE",
  ]);
});

test("a stop ends processes in native code, and fails their calls", async () => {
  const processes = await pool(2);
  const pids = await Promise.all([pidOf(processes), pidOf(processes)]);
  const calls = [1, 2, 3].map(() => processes.call(ask("native"), signal).catch((error: unknown) => error));
  await processes[Symbol.asyncDispose]();
  for (const error of await Promise.all(calls)) expect(error).toBeInstanceOf(Error);
  expect(pids.some(isAlive)).toBe(false);
  expect(processes.ready).toBe(false);
});

test("pools beyond number leave one listener on the process's end, and none when they are gone", async () => {
  const before = process.listenerCount("exit");
  await pool(3);
  await pool(1);
  expect(process.listenerCount("exit")).toBe(before + 1);
  for (const started of open.splice(0)) await started[Symbol.asyncDispose]();
  expect(process.listenerCount("exit")).toBe(before);
});

test.skipIf(!existsSync("/bin/sh"))("a process in native code ends with a parent that is killed", async () => {
  const parent = spawn(process.execPath, [fileURLToPath(new URL("./fixtures/process-parent.ts", import.meta.url))], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(parent.stdout, "data");
  const { pid } = JSON.parse(String(line)) as { pid: number };
  expect(isAlive(pid)).toBe(true);
  // It is given time to go into native code.
  await new Promise((resolve) => setTimeout(resolve, 100));
  parent.kill("SIGKILL");
  await once(parent, "exit");
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
});

test("a process that cannot start fails the pool's start with its error", async () => {
  await expect(pool(2, "bad")).rejects.toThrow("This process cannot start.");
});

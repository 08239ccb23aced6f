import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("./fixtures/process.ts", import.meta.url));

/** Runs the program; sends each signal when the line of the same index appears. */
async function runProcess(behaviour: string, signals: Array<[line: string, signal: NodeJS.Signals]>) {
  const child = spawn(process.execPath, [program, behaviour], { stdio: ["ignore", "pipe", "pipe"] });
  const exit = once(child, "exit");
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    for (const [when, signal] of signals) if (line === when) child.kill(signal);
  }
  const [code] = await exit;
  return { code, lines, errors };
}

test("a signal disposes in reverse order and the process ends by itself", async () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    const { code, lines, errors } = await runProcess("serves", [["ready", signal]]);
    expect(lines).toEqual(["ready", "server closed", "store closed", "done"]);
    expect(code).toBe(0);
    expect(errors).toContain(`${signal}: stopping`);
  }
});

test("a second signal ends a stuck process at once", async () => {
  const { code, lines, errors } = await runProcess("stuck", [
    ["ready", "SIGTERM"],
    ["still here", "SIGTERM"],
  ]);
  expect(lines).toEqual(["ready", "server closed", "still here"]);
  expect(code).toBe(1);
  expect(errors).toContain("SIGTERM again");
});

test("copies of a signal, and the end of the parent, do not hurry a process that drains", async () => {
  const { code, lines, errors } = await runProcess("outlives its terminal", [
    ["ready", "SIGTERM"],
    ["ready", "SIGINT"],
    ["server closed", "SIGHUP"],
  ]);
  expect(lines).toEqual(["ready", "server closed", "store closed", "done"]);
  expect(code).toBe(0);
  expect(errors).not.toContain("ending now");
});

test("a process with a thread that is stuck in native code ends soon after its drain deadline", async () => {
  const { code, lines } = await runProcess("stuck in native code", [["ready", "SIGTERM"]]);
  expect(lines).toEqual(["ready", "server closed", "store closed", "done"]);
  expect(code).not.toBe(0);
});

test("the drain deadline ends a process that something keeps alive", async () => {
  const { code, lines, errors } = await runProcess("leaks", [["ready", "SIGTERM"]]);
  expect(lines).toEqual(["ready", "server closed", "store closed", "done"]);
  expect(code).toBe(1);
  expect(errors).toContain("drain deadline");
});

test("a signal during the start stops the start, normally", async () => {
  const { code, lines } = await runProcess("slow-start", [["starting", "SIGTERM"]]);
  expect(lines).toEqual(["starting", "done"]);
  expect(code).toBe(0);
});

test("a failed start ends the process with its error", async () => {
  const { code, errors } = await runProcess("fails", []);
  expect(code).toBe(1);
  expect(errors).toContain("The port is taken.");
});

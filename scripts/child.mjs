import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"];

// npm passes on a signal that the whole process group has already had, and then ends: what comes within this time is one.
const copiesMs = 1_000;

// How often to see whether npm is still there: soon enough for the next start to find the port free.
const parentCheckMs = 200;

/**
 * Runs a program to its end and resolves to `{ code, signal, exitCode }`: its exit code (128 + n when
 * signal n ended it), the signal that this process was sent meanwhile, if any, and the exit code that
 * stands for that one. Signals are passed on. Rejects when the program cannot be started at all.
 */
export function follow(program, args, { onStart, onOutput, timeoutMs, ...options }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, options);
    const received = passSignals(child);
    if (child.pid) onStart?.(child.pid);
    const parentCheck = watchParent(() => received.pass("SIGHUP"));
    const timer = timeoutMs && setTimeout(() => child.kill("SIGTERM"), timeoutMs);
    const settle = (finish) => {
      clearTimeout(timer);
      clearInterval(parentCheck);
      received.stop();
      finish();
    };
    if (onOutput) for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", onOutput);
    child.once("error", (error) => settle(() => reject(error)));
    child.once("close", (code, endedBy) => {
      const { signal } = received;
      settle(() => resolve({ code: code ?? exitCodeOf(endedBy), signal, exitCode: signal && exitCodeOf(signal) }));
    });
  });
}

function exitCodeOf(signal) {
  return 128 + constants.signals[signal];
}

/** Passes each signal on to the child once, until `stop()`, and remembers the first. */
function passSignals(child) {
  // On a terminal Ctrl-C reaches the child without us; a second one would mean "stop at once".
  const terminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  let passedAt = Number.NEGATIVE_INFINITY;
  const pass = (signal) => {
    received.signal ??= signal;
    const isCopy = performance.now() - passedAt < copiesMs;
    passedAt = performance.now();
    if (!isCopy && !(terminal && signal === "SIGINT")) child.kill(signal);
  };
  const received = {
    signal: undefined,
    pass,
    stop: () => {
      for (const signal of signals) process.off(signal, pass);
    },
  };
  for (const signal of signals) process.on(signal, pass);
  return received;
}

/** Says once that npm, which started us, has gone: it tells its shell about a signal, not us. */
function watchParent(onGone) {
  if (!process.env.npm_lifecycle_event) return undefined;
  const npm = npmPid();
  const timer = setInterval(() => {
    if (npmPid() === npm) return;
    clearInterval(timer);
    onGone();
  }, parentCheckMs).unref();
  return timer;
}

/** The process that started us: the parent, or the one before it when a shell stands between. */
function npmPid() {
  try {
    const [, name, parent] = /\((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${process.ppid}/stat`, "utf8"));
    return name === "sh" ? Number(parent) : process.ppid;
  } catch {
    return process.ppid; // Not Linux: the shells there step aside for the only command they run.
  }
}

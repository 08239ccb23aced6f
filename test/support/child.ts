import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./services.ts";

/** A program of ours as a process of its own. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** host:port where it says that it listens. */
  readonly address: string;
  /** SIGTERM; the exit code. */
  stop(): Promise<number | null>;
}

/** Starts a program of the repository and waits until it says where it listens. Throws with its last words when it ends before. */
export async function startChild(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<Child> {
  const child = spawn(process.execPath, [join(root, program), ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let words = "";
  const address = await new Promise<string>((resolve, reject) => {
    const hear = (text: string) => {
      words += text;
      const at = /(?:listens|answers) on (?:https?:\/\/)?(\S+)\n/.exec(words)?.[1];
      if (at) resolve(at);
    };
    child.stdout.setEncoding("utf8").on("data", hear);
    child.stderr.setEncoding("utf8").on("data", hear);
    child.once("exit", (code) => reject(new Error(`${program} ended with ${code}: ${words}`)));
  });
  return {
    pid: child.pid as number,
    address,
    stop: () => end(child, "SIGTERM"),
    [Symbol.asyncDispose]: async () => void (await end(child, "SIGKILL")),
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
  return child.exitCode;
}

/** Whether this system shows what a process has mapped. */
export const showsMaps = existsSync("/proc/self/maps");

/** Native modules and libraries of packages that a process has mapped: those of node_modules, by file name, sorted. */
export function nativeModules(pid: number): string[] {
  const mapped = readFileSync(`/proc/${pid}/maps`, "utf8").matchAll(
    /\S*node_modules\/\S*?([^/\s]+\.(?:node|so)[\w.]*)$/gm,
  );
  return [...new Set([...mapped].map((match) => match[1] as string))].sort();
}

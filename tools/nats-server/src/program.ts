import { execFile } from "node:child_process";

export interface RunOptions {
  cwd?: string;
  signal?: AbortSignal;
}

// What these programs print is a few lines; more than this is not read.
const outputBytesMax = 1024 * 1024;

/** Runs a program to its end; resolves to its stdout, rejects with its last words when it fails. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    // SIGTERM at the signal: apt then ends its download methods.
    const child = execFile(program, args, { ...options, maxBuffer: outputBytesMax }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (options.signal?.aborted) return reject(new Error(`${program} took too long`));
      const words = stderr.trim().split("\n").at(-1) || error.message;
      reject(new Error(`${program}: ${words}`, { cause: error }));
    });
    child.stdin?.end();
  });
}

// Printing a version takes milliseconds; whatever takes longer is not a usable server.
const versionMsMax = 5_000;

/** The version that a nats-server prints, or undefined when there is none at the path or it does not run here. */
export async function versionOf(binary: string): Promise<string | undefined> {
  try {
    const printed = await run(binary, ["--version"], { signal: AbortSignal.timeout(versionMsMax) });
    return /nats-server:? v?([\d.]+\S*)/.exec(printed)?.[1];
  } catch {
    return undefined;
  }
}

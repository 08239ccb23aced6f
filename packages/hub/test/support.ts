import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readHubSettings } from "../src/config.ts";
import { HubError, type HubModel, type PullPlan, pullModel, requireModelName } from "../src/index.ts";
import { HubServer, type Repository, sha256 } from "./hub-server.ts";

export const root = fileURLToPath(new URL("../../../", import.meta.url));
export const drawn = join(root, "models/florence-2-drawn");
export const commits = { first: "1".repeat(40), second: "2".repeat(40) };
export const weights = readFileSync(join(drawn, "model.safetensors"));
export const weightsHash: string = sha256(weights);

/** Of a repository's files those that a checkpoint is made of, told as simply as these repositories allow. */
export const choose = (names: readonly string[]): string[] =>
  names.includes("config.json") ? names.filter((name) => name !== "README.md") : [];

/** A hub with one repository, me/drawn, and an empty home for a cache. */
export async function hubAndHome(repository: Partial<Repository> = {}) {
  const server = await HubServer.start();
  server.repositories.set("me/drawn", { folder: drawn, commit: commits.first, ...repository });
  const home = mkdtempSync(join(tmpdir(), "florence-hub-test-"));
  const repositoryFolder = join(home, "hub/models--me--drawn");
  const env: Record<string, string> = { HF_ENDPOINT: server.endpoint, HF_HOME: home };
  return {
    server,
    home,
    env,
    folder: repositoryFolder,
    blobs: join(repositoryFolder, "blobs"),
    async pull(name = "me/drawn", more: Record<string, string> = {}): Promise<HubModel & { plan: PullPlan }> {
      const plans: PullPlan[] = [];
      const settings = readHubSettings({ ...env, ...more });
      const model = await pullModel(requireModelName(name), { settings, choose, onPlan: (plan) => plans.push(plan) });
      return { ...model, plan: plans[0] as PullPlan };
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** Everything under a folder but folders, sorted; links count as files. */
export function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** The parts of downloads in a folder of blobs, with their sizes. */
export const partsIn = (blobs: string): { name: string; bytes: number }[] =>
  filesUnder(blobs)
    .filter((name) => name.endsWith(".incomplete"))
    // One that was listed may have got its name since.
    .map((name) => ({ name, bytes: statSync(join(blobs, name), { throwIfNoEntry: false })?.size ?? 0 }));

/** Waits until something is so; a test that waits in vain fails by its own limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}

/** The code and the message of the error that a promise ends with. */
export async function failure(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    return { code: error.code, message: error.message };
  }
  throw new Error("it did not fail");
}

export interface Program {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

/** Starts the real command line; `shell` may limit it first. */
export function florence(args: readonly string[], env: Record<string, string>, shell?: string): Program {
  const program = [process.execPath, join(root, "apps/cli/src/main.ts"), ...args];
  const [command, ...rest] = shell ? ["sh", "-c", `${shell}; exec "$@"`, "sh", ...program] : program;
  const child = spawn(command as string, rest, {
    cwd: root,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { child, ended: output.then(([stdout, stderr, [code]]) => ({ code, stdout, stderr })) };
}

import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { aptSuites, type DebianProgram, unpackFromApt } from "./apt.ts";
import { readEnv, type ServerEnv } from "./env.ts";
import { withLock } from "./lock.ts";
import { versionOf } from "./program.ts";

/** Why there is no nats-server, in a sentence for people. */
export interface Missing {
  readonly missing: string;
}

export interface FindOptions {
  /** Where an unpacked server is kept. Default: .tools/nats of this checkout, which git ignores. */
  folder?: string;
  /** How long finding and unpacking may take in all, in milliseconds. */
  timeoutMs?: number;
  /** Default: the process's. */
  env?: ServerEnv;
}

// An index of Debian is about 10 MB: seconds on most lines, and a slow line is not waited for by every test run.
const timeoutMsDefault = 60_000;

// Long enough that the files of one test run do not each try again, short enough to notice a network that came back.
const missingForMs = 10 * 60_000;

/**
 * The path of a nats-server that runs here: NATS_SERVER_BIN, else one on the PATH, else the one in the folder, else
 * Debian's package unpacked into the folder, which needs no root and leaves the system's apt alone. Where none can be
 * had it says why; it does not throw.
 */
export async function findOrGetNatsServer(options: FindOptions = {}): Promise<string | Missing> {
  const { binary, folders } = options.env ?? readEnv();
  if (binary !== undefined) {
    return (await versionOf(binary)) ? binary : { missing: `NATS_SERVER_BIN is ${binary}, which does not run.` };
  }
  for (const folder of folders) {
    const candidate = join(folder, "nats-server");
    if (await versionOf(candidate)) return candidate;
  }
  const folder = options.folder ?? join(import.meta.dirname, "../../../.tools/nats");
  const kept = join(folder, "nats-server");
  if (await versionOf(kept)) return kept;
  try {
    return await fill(folder, kept, AbortSignal.timeout(options.timeoutMs ?? timeoutMsDefault));
  } catch (error) {
    return { missing: `There is no nats-server here (${error instanceof Error ? error.message : error}).` };
  }
}

const program: DebianProgram = {
  package: "nats-server",
  path: "usr/sbin/nats-server",
  runs: async (binary) => (await versionOf(binary)) !== undefined,
};

// Puts a server into the folder, unless another process does it meanwhile.
async function fill(folder: string, kept: string, signal: AbortSignal): Promise<string> {
  await mkdir(folder, { recursive: true });
  return withLock(join(folder, "lock"), signal, async () => {
    if (await versionOf(kept)) return kept;
    const note = join(folder, "missing.json");
    const earlier = await readNote(note);
    if (earlier) throw new Error(`${earlier}; known from a recent try, delete ${note} to try again`);
    try {
      const unpacked = await unpackFromApt({ program, folder, suites: aptSuites, signal });
      await rename(unpacked.binary, kept);
      await rm(unpacked.folder, { recursive: true, force: true });
      await rm(note, { force: true });
      return kept;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      await writeFile(note, JSON.stringify({ reason, atMs: Date.now() }));
      throw error;
    }
  });
}

async function readNote(path: string): Promise<string | undefined> {
  try {
    const { reason, atMs } = JSON.parse(await readFile(path, "utf8")) as { reason: string; atMs: number };
    return Date.now() - atMs < missingForMs ? reason : undefined;
  } catch {
    return undefined; // None, or not whole: try again.
  }
}

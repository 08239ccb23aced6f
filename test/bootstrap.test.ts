// scripts/run.mjs in small checkouts of their own: a workspace without dependencies, so that the real
// pnpm installs it in a moment and without a network.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { packageManager: string };
const lockFile =
  "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n";
const printArguments = 'process.stdout.write(JSON.stringify(process.argv.slice(2)) + "\\n");';

/** A checkout whose command line is `main`. Removed with the test. */
function checkout(main: string): string {
  const folder = mkdtempSync(join(tmpdir(), "florence-start-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(root, "scripts"), join(folder, "scripts"), { recursive: true });
  mkdirSync(join(folder, "apps/cli/src"), { recursive: true });
  writeFileSync(join(folder, "apps/cli/src/main.ts"), main);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "x", type: "module", packageManager }));
  writeFileSync(join(folder, "pnpm-workspace.yaml"), "packages:\n  - apps/*\n");
  writeFileSync(join(folder, "pnpm-lock.yaml"), lockFile);
  return folder;
}

// npm's variables would make the script believe that npm started it.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD)/.test(name)));

/** Starts run.mjs; `ended` resolves to all it printed and its exit code. */
function start(folder: string, args: string[], extra: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [join(folder, "scripts/run.mjs"), ...args], {
    cwd: folder,
    env: { ...env, ...extra },
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => (output.stdout += chunk));
  child.stderr.on("data", (chunk) => (output.stderr += chunk));
  const ended = new Promise<typeof output & { code: number | null }>((resolve) => {
    child.on("close", (code) => resolve({ ...output, code }));
  });
  return { child, output, ended };
}

/** Waits until `condition` holds. The test's own timeout bounds it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

const installing = "installing the packages";
const server = `
  const timer = setInterval(() => {}, 1000);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {
    process.stdout.write(signal + "\\n");
    clearInterval(timer);
    process.exitCode = 5;
  });
  process.stdout.write("pid " + process.pid + "\\n");
`;

/** Starts `server` and resolves once it runs, with its process id. */
async function startServer(): Promise<ReturnType<typeof start> & { pid: number }> {
  const started = start(checkout(server), ["start"]);
  await until(() => /pid \d+\n/.test(started.output.stdout));
  return { ...started, pid: Number(/pid (\d+)/.exec(started.output.stdout)?.[1]) };
}

test("the first start installs, the second does not, and stdout is the program's alone", async () => {
  const folder = checkout(printArguments);
  const first = await start(folder, ["florence", "run", "a b"]).ended;
  expect(first).toMatchObject({ code: 0, stdout: '["run","a b"]\n' });
  expect(first.stderr).toContain(installing);
  expect(await start(folder, ["florence", "info"]).ended).toEqual({ code: 0, stdout: '["info"]\n', stderr: "" });
});

test("a changed manifest is installed at the next start", async () => {
  const folder = checkout(printArguments);
  await start(folder, ["florence"]).ended;
  writeFileSync(join(folder, "apps/cli/package.json"), '{ "name": "cli" }');
  writeFileSync(join(folder, "pnpm-lock.yaml"), `${lockFile}\n  apps/cli: {}\n`);
  const next = await start(folder, ["florence"]).ended;
  expect(next).toMatchObject({ code: 0, stderr: expect.stringContaining(installing) });
});

test("two first starts at once install one after the other, and the second finds the work done", async () => {
  const folder = checkout(printArguments);
  const both = await Promise.all([start(folder, ["florence", "a"]).ended, start(folder, ["florence", "b"]).ended]);
  expect(both.map(({ code, stdout }) => [code, stdout])).toEqual([
    [0, '["a"]\n'],
    [0, '["b"]\n'],
  ]);
  expect(both.filter(({ stderr }) => stderr.includes(installing))).toHaveLength(1);
  expect(existsSync(join(folder, ".tools/lock"))).toBe(false);
});

test("a start takes over from one that died while it installed", async () => {
  const folder = checkout(printArguments);
  const { pid } = spawnSync(process.execPath, ["--version"]); // A process that has ended.
  mkdirSync(join(folder, ".tools"));
  writeFileSync(join(folder, ".tools/lock"), JSON.stringify({ pid, host: hostname() }));
  expect(await start(folder, ["florence"]).ended).toMatchObject({ code: 0, stdout: "[]\n" });
});

test("a start waits for a living one, and for the installer of one that was killed", async () => {
  const folder = checkout(printArguments);
  const dead = spawnSync(process.execPath, ["--version"]).pid;
  const holder: ChildProcess = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  onTestFinished(() => void holder.kill());
  mkdirSync(join(folder, ".tools"));
  writeFileSync(join(folder, ".tools/lock"), JSON.stringify({ pid: dead, host: hostname(), installer: holder.pid }));
  const waiting = start(folder, ["florence"]);
  await until(() => waiting.output.stderr.includes("waiting"));
  expect(waiting.output.stderr).not.toContain(installing);
  holder.kill();
  expect(await waiting.ended).toMatchObject({ code: 0, stdout: "[]\n" });
});

test("the program's exit code is passed back", async () => {
  const folder = checkout("process.exitCode = Number(process.argv[2]);");
  expect(await start(folder, ["florence", "7"]).ended).toMatchObject({ code: 7 });
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s reaches the server once, and its exit code comes back",
  async (signal) => {
    const { child, ended, pid } = await startServer();
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 5, stdout: `pid ${pid}\n${signal}\n` });
  },
);

test("the server stops as if asked when the script before it is killed outright", async () => {
  const { child, ended, pid } = await startServer();
  child.kill("SIGKILL");
  expect((await ended).stdout).toBe(`pid ${pid}\nSIGHUP\n`);
});

test("without a network and without packages the error is one clear line, and a test run still counts", async () => {
  const folder = checkout(printArguments);
  // A package that no store holds, from a registry that no one serves.
  const missing = "  no-such-package@9.9.9:\n    resolution: {integrity: sha512-AAAA}\n";
  const importer =
    "  .:\n    dependencies:\n      no-such-package:\n        specifier: 9.9.9\n        version: 9.9.9\n";
  const lock = lockFile.replace(
    "  .: {}\n",
    `${importer}\npackages:\n\n${missing}\nsnapshots:\n\n  no-such-package@9.9.9: {}\n`,
  );
  writeFileSync(join(folder, "pnpm-lock.yaml"), lock);
  const manifest = { name: "x", packageManager, dependencies: { "no-such-package": "9.9.9" } };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  const nowhere = { HTTPS_PROXY: "http://127.0.0.1:9", https_proxy: "http://127.0.0.1:9" };
  const { code, stdout, stderr } = await start(folder, ["test"], nowhere).ended;
  expect({ code, stdout }).toEqual({ code: 1, stdout: "0 passed, 1 failed\n" });
  expect(stderr.trim().split("\n").at(-1)).toMatch(/^florence: installing the packages failed\. The package registry/);
});

test("an unknown command is wrong usage", async () => {
  const { code, stderr } = await start(checkout(printArguments), ["dance"]).ended;
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: "usage: node scripts/run.mjs start|florence|test|docs|check [arguments]\n",
  });
});

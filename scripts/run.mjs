// The one way in: `node scripts/run.mjs start|test|check|docs|florence [arguments]`.
//
// It runs on Node 20 with nothing installed, gets what is missing (Node 24, pnpm, the packages of the
// lock file), and then runs the real thing. When nothing is missing it costs one short process start.
// Progress and errors go to stderr: stdout belongs to the program that is run.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { follow } from "./child.mjs";
import { Complaint } from "./complaint.mjs";
import { prepare } from "./prepare.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [command, ...args] = process.argv.slice(2);

const commands = {
  start: (ready) => cli(ready, ["serve", ...args]),
  florence: (ready) => cli(ready, args),
  test: (ready) => tests(ready, args),
  docs: (ready) => run(ready, [join(root, "test", "support", "written-docs.ts")], { cwd: root, stdio: "inherit" }),
  check: async (ready) => {
    // All three run even when one complains: a list of everything that is wrong saves a round.
    const style = await tool(ready, "@biomejs/biome", "biome", ["ci", "--error-on-warnings", "."]);
    const types = await tool(ready, "typescript", "tsc", ["-p", "tsconfig.json"]);
    return (await tests(ready, args)) || style || types;
  },
};

/** Runs the command line from its source, in the folder that the user called from. */
function cli(ready, cliArgs) {
  // npm moves to the folder of package.json; relative paths are meant from where the user stands.
  const cwd = process.env.npm_lifecycle_event === command ? (process.env.INIT_CWD ?? root) : process.cwd();
  const lifeline = pathToFileURL(join(root, "scripts", "lifeline.mjs")).href;
  const flags = ["--disable-warning=ExperimentalWarning", "--import", lifeline];
  const program = join(root, "apps", "cli", "src", "main.ts");
  return run(ready, [...flags, program, ...cliArgs], { cwd, stdio: ["inherit", "inherit", "inherit", "ipc"] });
}

/** Runs vitest; the last line on stdout, always, is `N passed, N failed`. */
async function tests(ready, vitestArgs) {
  const counts = join(root, ".tools", `test-counts-${process.pid}.json`);
  const reporters = ["--reporter=default", `--reporter=${join(root, "scripts", "count-reporter.mjs")}`];
  const env = { TEST_COUNTS_FILE: counts };
  const code = await tool(ready, "vitest", "vitest", ["run", ...reporters, ...vitestArgs], env);
  let { passed, failed } = { passed: 0, failed: 0 };
  try {
    ({ passed, failed } = JSON.parse(readFileSync(counts, "utf8")));
    rmSync(counts);
  } catch {
    // The runner died before it could count: that is one failure, added below.
  }
  if (code !== 0 && failed === 0) failed = 1;
  summarise(passed, failed);
  return code || (failed > 0 ? 1 : 0);
}

/** Prints the last line of a test run, and keeps it for .ci/run, whose npm may print below it. */
function summarise(passed, failed) {
  const line = `${passed} passed, ${failed} failed`;
  writeFileSync(join(root, ".tools", "test-summary.txt"), `${line}\n`);
  console.log(line);
}

/** Runs the program that an installed package declares under `bin`. */
function tool(ready, packageName, bin, toolArgs, env = {}) {
  const folder = join(root, "node_modules", packageName);
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const program = typeof manifest.bin === "string" ? manifest.bin : manifest.bin[bin];
  return run(ready, [join(folder, program), ...toolArgs], { cwd: root, stdio: "inherit", env });
}

async function run(ready, nodeArgs, options) {
  const env = { ...process.env, ...options.env, PATH: ready.path };
  const { code } = await follow(ready.node, nodeArgs, { ...options, env });
  return code;
}

if (!Object.hasOwn(commands, command ?? "")) {
  console.error(`usage: node scripts/run.mjs ${Object.keys(commands).join("|")} [arguments]`);
  process.exit(2);
}
try {
  process.exitCode = await commands[command](await prepare(root));
} catch (error) {
  if (!(error instanceof Complaint)) throw error;
  console.error(`florence: ${error.message}`);
  process.exitCode = error.exitCode;
  if (command === "test" || command === "check") console.log("0 passed, 1 failed");
}

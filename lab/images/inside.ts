// What run.ts does inside of its namespaces; the folder with the roots is its argument.
import assert from "node:assert/strict";
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { readDockerfile } from "../../deploy/checks/dockerfile.ts";
import { root } from "../../deploy/images/roles.ts";

const work = process.argv[2] as string;
const sh = (...command: [string, ...string[]]) => execFileSync(command[0], command.slice(1), { stdio: "pipe" });
const roles = ["encoder", "decoder", "gateway"] as const;
type Role = (typeof roles)[number];

/** A root as a container has it: nothing in it can be written but /tmp and the volumes. */
function mountRoot(role: string): void {
  const folder = join(work, role);
  sh("mount", "--bind", folder, folder);
  sh("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", join(folder, "tmp"));
  sh("mount", "-t", "sysfs", "-o", "ro", "sysfs", join(folder, "sys"));
  for (const device of ["null", "urandom"]) sh("mount", "--bind", `/dev/${device}`, join(folder, "dev", device));
  const volume = { model: "models", gateway: undefined, encoder: "model", decoder: "model" }[role];
  if (volume !== undefined) sh("mount", "--bind", join(work, "volume"), join(folder, volume));
  if (volume === "model") sh("mount", "-o", "remount,bind,ro", join(folder, volume));
  sh("mount", "-o", "remount,bind,ro", folder);
}

/** The arguments for unshare that run a command as a container would: in its root, as its user, as process 1. */
function contained(role: string, command: readonly string[]): string[] {
  const { user } = readDockerfile(role);
  const ids = [`--map-user=${user}`, `--map-group=${user}`];
  const place = [
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    `--root=${join(work, role)}`,
    "--mount-proc",
    "--wd=/app",
  ];
  return [...ids, ...place, ...command];
}

const settings: Record<Role, Record<string, string>> = {
  gateway: { FLORENCE_ENCODER: "127.0.0.1:50051", FLORENCE_DECODER: "127.0.0.1:50052" },
  encoder: { FLORENCE_ADVERTISE: "127.0.0.1:50051" },
  decoder: {},
};
const environmentOf = (role: Role): Record<string, string> => ({
  ...readDockerfile(role).env,
  ...settings[role],
  FLORENCE_LOG_LEVEL: "warn",
});
const run = (role: string, command: readonly string[], env: Record<string, string> = {}) =>
  promisify(execFile)("unshare", contained(role, command), { env });

async function healthy(role: Role): Promise<boolean> {
  return run(role, readDockerfile(role).healthcheck).then(
    () => true,
    () => false,
  );
}

// As the process itself sees it.
const probe = `
  const fs = require("node:fs"), net = require("node:net");
  const code = (work) => { try { work(); return "done"; } catch (error) { return error.code; } };
  const report = {
    uid: process.getuid(), pid: process.pid, shell: fs.existsSync("/bin/sh"),
    root: code(() => fs.writeFileSync("/x", "")), app: code(() => fs.writeFileSync("/app/x", "")), tmp: code(() => fs.writeFileSync(process.env.TMPDIR + "/x", "")),
    capabilities: /CapEff:\\s+(\\w+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1],
  };
  net.connect(443, "192.0.2.1").on("error", (error) => console.log(JSON.stringify({ ...report, outside: error.code })));
`;

sh("ip", "link", "set", "lo", "up");
for (const role of ["model", ...roles]) mountRoot(role);

const digest = createHash("sha256")
  .update(readFileSync(join(work, "model/model/florence.json")))
  .digest("hex");
const install = readDockerfile("model").command;
await assert.rejects(run("model", [...install, "0".repeat(64)]), /has the digest/);
const installed = await run("model", [...install, digest]);
process.stdout.write(installed.stdout);
assert.match((await run("model", [...install, digest])).stdout, /is there already/);

const processes = new Map<Role, ChildProcess>();
try {
  for (const role of roles) {
    const { stdout } = await run(role, ["/bin/node", "--eval", probe], { TMPDIR: environmentOf(role).HOME ?? "" });
    const seen = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual(seen, {
      ...{ uid: 65532, pid: 1, shell: false, root: "EROFS", app: "EROFS", tmp: "done" },
      ...{ capabilities: "0000000000000000", outside: "ENETUNREACH" },
    });
    const began = performance.now();
    const child = spawn("unshare", contained(role, readDockerfile(role).command), {
      env: environmentOf(role),
      stdio: ["ignore", "ignore", "inherit"],
    });
    processes.set(role, child);
    while (!(await healthy(role))) {
      assert.equal(child.exitCode, null, `${role} has ended`);
      await sleep(50);
    }
    console.log(
      `${role.padEnd(8)} healthy after ${Math.round(performance.now() - began)} ms as user ${seen.uid}, process 1, ` +
        `no capability; /: ${seen.root}, /app: ${seen.app}, outside: ${seen.outside}`,
    );
  }
  while ((await fetch("http://127.0.0.1:8080/readyz")).status !== 200) await sleep(50);
  const body = readFileSync(join(root, "models/demo/shapes.png"));
  const url = "http://127.0.0.1:8080/v1/annotate?task=object_detection";
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "image/png" }, body });
  assert.equal(answer.status, 200);
  const { results } = (await answer.json()) as { results: { answer: { "<OD>": { labels: string[] } } }[] };
  const labels = results[0]?.answer["<OD>"].labels ?? [];
  assert.ok(labels.length >= 5);
  console.log(`gateway -> encoder -> decoder: ${labels.join(", ")}`);
  for (const role of [...roles].reverse()) {
    const child = processes.get(role) as ChildProcess;
    // unshare waits; its child is the role's process.
    const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8"));
    const exited = once(child, "exit");
    process.kill(pid, "SIGTERM");
    assert.deepEqual(await exited, [0, null], `${role} at SIGTERM`);
  }
  console.log("SIGTERM to process 1: each ended by itself with 0");
} finally {
  for (const child of processes.values()) child.kill("SIGKILL");
}

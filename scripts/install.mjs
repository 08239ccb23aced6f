import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { follow } from "./child.mjs";
import { Complaint, causeOf } from "./complaint.mjs";

const installMsMax = 600_000; // About 150 MB on an empty machine: ten minutes at 2 Mbit/s.

// It lies in node_modules so that removing that folder removes the claim that it is complete.
const stampFile = join("node_modules", ".florence-installed");

/** Whether node_modules holds what the lock file and the manifests ask for now. */
export function packagesInstalled(root) {
  const path = join(root, stampFile);
  return existsSync(path) && readFileSync(path, "utf8") === fingerprint(root);
}

/** Installs the packages of the lock file, which is never changed. */
export async function installPackages({ root, pnpm, env, noteInstaller }) {
  console.error("florence: installing the packages of pnpm-lock.yaml ...");
  let output = "";
  const onOutput = (text) => {
    output += text;
    process.stderr.write(text);
  };
  const args = ["install", "--frozen-lockfile"];
  const stdio = ["ignore", "pipe", "pipe"];
  const options = { cwd: root, env, stdio, timeoutMs: installMsMax, onStart: noteInstaller, onOutput };
  const before = fingerprint(root);
  const result = await follow(pnpm, args, options);
  if (result.signal) throw new Complaint(`stopped by ${result.signal}.`, result.exitCode);
  if (result.code !== 0) throw new Complaint(`installing the packages failed. ${causeOf(output)}`.trim());
  writeFileSync(join(root, stampFile), before);
}

/** A digest of everything that decides what is installed: lock file, manifests, and the platform. */
function fingerprint(root) {
  const digest = createHash("sha256").update(`${process.platform}-${process.arch}`);
  for (const path of ["pnpm-lock.yaml", "pnpm-workspace.yaml", ...manifests(root)]) {
    const text = readFileSync(join(root, path));
    digest.update(`\n${path} ${text.length}\n`).update(text);
  }
  return digest.digest("hex");
}

/** The package.json of the root and of every folder that pnpm-workspace.yaml lists. */
function manifests(root) {
  const workspace = readFileSync(join(root, "pnpm-workspace.yaml"), "utf8");
  const list = /^packages:\n((?:\s+-.*\n)+)/m.exec(workspace)?.[1] ?? "";
  const folders = [...list.matchAll(/^\s+-\s+["']?([^"'\s]+)["']?\s*$/gm)].flatMap(([, folder]) => {
    if (!folder.endsWith("/*")) return [folder];
    const parent = folder.slice(0, -2);
    return existsSync(join(root, parent)) ? readdirSync(join(root, parent)).map((name) => `${parent}/${name}`) : [];
  });
  const paths = ["", ...folders.sort().map((folder) => `${folder}/`)].map((folder) => `${folder}package.json`);
  return paths.filter((path) => existsSync(join(root, path)));
}

import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundle } from "./bundle.ts";
import { bomOf, copyLicenses, packagesOf } from "./inventory.ts";
import { copyNative } from "./native.ts";
import { nativeFrom, type RoleName, roles, root } from "./roles.ts";

/** What was put together. */
export interface Assembled {
  /** Bytes of all files. */
  readonly bytes: number;
  /** Names of the packages of others that are in it. */
  readonly packages: readonly string[];
}

/** Fills an empty folder with what a role needs beside Node, a C++ library and a model. Throws when the folder is not empty. */
export async function assemble(name: RoleName, folder: string): Promise<Assembled> {
  mkdirSync(folder, { recursive: true });
  if (readdirSync(folder).length > 0) throw new Error(`${folder} is not empty.`);
  const role = roles[name];
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const sources = await bundle(role, folder);
  const copied = copyNative(role.native, join(root, nativeFrom), folder);
  const packages = packagesOf([...sources, ...copied]);
  const manifest = { name: `florence-${name}`, version, type: "module" };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest)}\n`);
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  copyLicenses(packages, join(folder, "licenses"));
  writeFileSync(join(folder, "bom.json"), bomOf(manifest.name, version, packages));
  return { bytes: bytesOf(folder), packages: packages.map((entry) => entry.manifest.name) };
}

/** Bytes of all files in a folder. */
export function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

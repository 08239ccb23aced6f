// Fills an empty folder with everything that an image holds:
//   node deploy/images/root.ts ROLE FOLDER
// The Dockerfiles copy it as the whole image, and lab/images runs the same folder where there is no container engine. It has Node, the
// shared libraries that are really loaded, and /app. There is no shell, no package manager and nothing else to keep up to date.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { assemble } from "./assemble.ts";
import { type RoleName, roleNames } from "./roles.ts";

/** The user that images run as. */
export const user = 65532;

/** Fills a folder for a role. Linux only: the libraries are those of this machine. Throws when the folder is not empty. */
export async function fillRoot(name: RoleName, folder: string): Promise<void> {
  await assemble(name, join(folder, "app"));
  const node = join(folder, "bin/node");
  mkdirSync(dirname(node), { recursive: true });
  copyFileSync(process.execPath, node);
  const native = readdirSync(join(folder, "app"), { recursive: true })
    .map((path) => join(folder, "app", String(path)))
    .filter((path) => /\.node$|\.so(\.\d+)*$/.test(path));
  for (const library of sharedLibraries([node, ...native])) {
    if (library.startsWith(folder)) continue; // Beside the module that wants it.
    mkdirSync(dirname(join(folder, library)), { recursive: true });
    copyFileSync(realpathSync(library), join(folder, library));
  }
  copyCopyrights(join(folder, "app/licenses"));
  for (const empty of ["dev", "proc", "sys", "tmp", "model", "models", "etc"]) mkdirSync(join(folder, empty));
  // Without an entry there is no home folder to ask for; and hosts come from the file first, as they do elsewhere.
  writeFileSync(join(folder, "etc/passwd"), `florence:x:${user}:${user}::/tmp:/bin/false\n`);
  writeFileSync(join(folder, "etc/group"), `florence:x:${user}:\n`);
  writeFileSync(join(folder, "etc/nsswitch.conf"), "hosts: files dns\n");
}

/** The shared libraries that programs and modules load, by path, the loader among them. */
function sharedLibraries(files: readonly string[]): Set<string> {
  const found = files.flatMap((file) => {
    const printed = execFileSync("ldd", [file], { encoding: "utf8" });
    const missing = /^\s*(\S+) => not found/m.exec(printed)?.[1];
    if (missing !== undefined) throw new Error(`${file} needs ${missing}, which is not here.`);
    return [...printed.matchAll(/(?:=>\s+|^\s*)(\/\S+)\s+\(0x/gm)].map((match) => match[1] as string);
  });
  return new Set(found);
}

/** The terms of the system's libraries, as Debian keeps them. */
function copyCopyrights(folder: string): void {
  for (const name of ["libc6", "libstdc++6", "libgcc-s1"]) {
    const file = `/usr/share/doc/${name}/copyright`;
    if (!existsSync(file)) continue;
    mkdirSync(join(folder, name), { recursive: true });
    copyFileSync(file, join(folder, name, "copyright"));
  }
}

if (import.meta.main) {
  const [name, folder] = process.argv.slice(2);
  const known = roleNames.find((role) => role === name);
  if (known === undefined || folder === undefined) {
    process.stderr.write(`usage: node deploy/images/root.ts ${roleNames.join("|")} FOLDER\n`);
    process.exitCode = 2;
  } else {
    await fillRoot(known, folder);
  }
}

import { cpSync, existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";

// What only a package's install script needs.
const notNeeded = new Set(["adm-zip", "global-agent", "node-addon-api"]);
// Types, sources, maps and scripts; and onnxruntime's libraries for other systems and for graphics cards of one maker.
const notCopied =
  /(\.d\.[cm]?ts|\.map|\.md|\.ts|\.h|\.cc|\.gyp)$|(^|\/)(node_modules|src|script|install|lib\/glib-2\.0|lib\/index\.d\.ts)(\/|$)|cuda|tensorrt|DirectML/i;

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Copies packages with native parts, and what they depend on, into a folder's node_modules, flat. Only what this platform runs is copied.
 * `from` is a folder whose package depends on them. Gives the folders that they came from. Throws when one is not installed.
 */
export function copyNative(names: readonly string[], from: string, folder: string): string[] {
  const copied = new Map<string, string>();
  const copy = (name: string, parent: string, optional: boolean): void => {
    const source = folderOf(name, parent);
    if (source === undefined) {
      if (optional) return; // For another platform.
      throw new Error(`${name} is not installed.`);
    }
    const before = copied.get(name);
    if (before === source) return;
    if (before !== undefined) throw new Error(`Two versions of ${name} cannot lie in one folder.`);
    copied.set(name, source);
    cpSync(source, join(folder, "node_modules", name), {
      recursive: true,
      dereference: true,
      filter: (path) => isWanted(relative(source, path)),
    });
    const { dependencies = {}, optionalDependencies = {} } = manifestOf(source);
    for (const next of Object.keys(dependencies)) if (!notNeeded.has(next)) copy(next, source, false);
    for (const next of Object.keys(optionalDependencies)) copy(next, source, true);
  };
  for (const name of names) copy(name, realpathSync(from), false);
  return [...copied.values()];
}

function isWanted(path: string): boolean {
  if (notCopied.test(path) && !/(^|\/)licen[cs]e[^/]*$/i.test(path)) return false;
  // onnxruntime's are in bin/napi-v6/<platform>/<arch>.
  const [, platform, arch] = /^bin\/napi-v\d+\/([^/]+)(?:\/([^/]+))?/.exec(path) ?? [];
  return (platform ?? process.platform) === process.platform && (arch ?? process.arch) === process.arch;
}

/** Where a package is installed, as one that lies in `parent` would find it. */
function folderOf(name: string, parent: string): string | undefined {
  const paths = createRequire(join(parent, "package.json")).resolve.paths(name) ?? [];
  const found = paths.map((path) => join(path, name)).find((path) => existsSync(join(path, "package.json")));
  return found && realpathSync(found);
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

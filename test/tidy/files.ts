import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { SourceFile } from "./source.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const textFile = /\.(ts|mjs|js|json|ya?ml|md|proto|sh|html|css|py)$|(^|\/)(\.[\w-]+|Dockerfile|LICENSE|run)$/;

/** The paths of all files that belong to the repository, sorted. Works without git, as in an archive. */
export function repositoryPaths(): string[] {
  const ignored = readFileSync(join(root, ".gitignore"), "utf8").split("\n").filter(Boolean);
  const folders = new Set(ignored.filter((line) => line.endsWith("/")).map((line) => line.slice(0, -1)));
  const endings = ignored.filter((line) => line.startsWith("*.")).map((line) => line.slice(1));
  const walk = (folder: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      const path = folder + entry.name;
      if (path === ".git") return []; // A file where the checkout is a work tree of another.
      if (entry.isDirectory()) return folders.has(entry.name) || folders.has(`/${path}`) ? [] : walk(`${path}/`);
      return endings.some((ending) => path.endsWith(ending)) ? [] : [path];
    });
  return walk("").sort();
}

/** The files that people write: no generated code, no fixtures' data, no checkpoint. */
export function handWrittenFiles(paths: readonly string[]): SourceFile[] {
  const excluded = /^(proto\/gen|models|test\/fixtures)\/(?!.*README\.md$)|\/test\/golden\//;
  return paths
    .filter((path) => textFile.test(path) && !excluded.test(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

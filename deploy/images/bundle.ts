import { basename, dirname, join, resolve } from "node:path";
import { type Plugin, rolldown } from "rolldown";
import { type Role, root } from "./roles.ts";

/**
 * Bundles the programs of a role into a folder, each as a file of its own, with a file for each worker or child process that the program starts.
 * What they share lies in chunks beside them. Gives the paths of all source files that went in. Rejects when an import cannot be resolved.
 */
export async function bundle({ programs, native }: Role, folder: string): Promise<string[]> {
  await using build = await rolldown({
    input: Object.fromEntries(Object.entries(programs).map(([name, path]) => [name, join(root, path)])),
    platform: "node",
    external: [...native],
    plugins: [startedFiles()],
    onLog(level, log) {
      // What another package says of its own code is no concern of ours; what cannot be found would fail later.
      if (log.code === "UNRESOLVED_IMPORT") throw new Error(log.message);
      if (level === "warn" && !/node_modules/.test(log.message)) process.stderr.write(`${log.message}\n`);
    },
  });
  const { output } = await build.write({
    dir: folder,
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: "chunk-[hash].js",
    // Readable traces are worth more than the bytes.
    minify: false,
    codeSplitting: {
      // Each in a chunk of its own, so that it still runs before what is imported after it, native packages included.
      groups: [{ name: "environment", test: /\/engine\/env\.ts$/ }],
    },
  });
  return output.flatMap((file) => (file.type === "chunk" ? file.moduleIds : [])).filter((path) => path.startsWith("/"));
}

const started = /new URL\(\s*(["'])(\.[^"']+)\.ts\1,\s*import\.meta\.url\s*,?\s*\)/g;

/** Files that a program starts by URL, as threads or processes, become files of the bundle that lie beside it. */
function startedFiles(): Plugin {
  const sources = new Map<string, string>();
  return {
    name: "started-files",
    transform(code, id) {
      if (!id.endsWith(".ts")) return null;
      const changed = code.replace(started, (_whole, _quote, path: string) => {
        const source = resolve(dirname(id), `${path}.ts`);
        const name = basename(path);
        const known = sources.get(name);
        if (known !== undefined && known !== source) throw new Error(`${source} and ${known} would be one file.`);
        if (known === undefined) this.emitFile({ type: "chunk", id: source, fileName: `${name}.js` });
        sources.set(name, source);
        return `new URL("./${name}.js", import.meta.url)`;
      });
      return changed === code ? null : changed;
    },
  };
}

import {
  codeOf,
  importsOf,
  isTypeScript,
  type Rule,
  resolveRelative,
  type SourceFile,
  valueImportsOf,
} from "./source.ts";

const gateway = "services/gateway/src/";
// Where the gateway meets Node.
const rim = /\/src\/(node\/|main\.ts$)/;
// What the core may bring along: packages that run wherever there is fetch and WebCrypto.
const neutralPackages = /^(hono|zod|@bufbuild\/protobuf|@remix-run\/multipart-parser)(\/|$)/;
const globalsOfNode = /(?<![.\w$])(Buffer|process|NodeJS|setImmediate|__dirname|require)\b(?!\s*:)|\.unref\(/;

/** What runs when a file does: the files of ours that it reaches, and each import that leads elsewhere. */
export interface Reach {
  readonly files: ReadonlySet<string>;
  readonly outside: readonly { readonly from: string; readonly name: string }[];
}

/** The gateway's own files that run on any runtime: app.ts, and what is handed to it. */
export function coreOf(files: readonly SourceFile[]): string[] {
  return files
    .map(({ path }) => path)
    .filter((path) => path.startsWith(gateway) && isTypeScript(path) && !rim.test(path));
}

/** Follows the imports that are there at run time from some files through all of our packages. */
export function reachOf(files: readonly SourceFile[], entries: readonly string[]): Reach {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  const exported = exportsOf(files);
  const reached = new Set<string>();
  const outside: { from: string; name: string }[] = [];
  const open = [...entries];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const text = texts.get(path);
    if (text === undefined || reached.has(path)) continue;
    reached.add(path);
    for (const name of valueImportsOf(text)) {
      const target = name.startsWith(".") ? resolveRelative(path, name) : exported.get(name);
      if (target !== undefined && (texts.has(target) || isGenerated(target))) open.push(target);
      else outside.push({ from: path, name });
    }
  }
  return { files: reached, outside };
}

/** The gateway's core runs on any runtime: nothing that it reaches is Node's. */
export const coreKnowsNoRuntime: Rule = (files) => {
  const { files: reached, outside } = reachOf(files, coreOf(files));
  const imported = outside
    .filter(({ name }) => !neutralPackages.test(name))
    .map(({ from, name }) => `${from}: the gateway's core reaches ${name}`);
  const used = files
    .filter(({ path }) => reached.has(path))
    .flatMap(({ path, text }) =>
      codeOf(text)
        .split("\n")
        .flatMap((line, i) => {
          const word = globalsOfNode.exec(line)?.[0];
          return word === undefined ? [] : [`${path}:${i + 1}: ${word} is Node's, and the gateway's core reaches it`];
        }),
    );
  return [...imported, ...used];
};

/** In the gateway, one folder and the main know Node, so that another runtime is another folder. */
export const oneFolderKnowsNode: Rule = (files) =>
  files.flatMap(({ path, text }) => {
    if (!path.startsWith(gateway) || !isTypeScript(path) || rim.test(path)) return [];
    return importsOf(text)
      .filter((name) => /^(node:|@grpc\/|@hono\/node-server|pino|@florence\/(grpc|node|worker)$)/.test(name))
      .map((name) => `${path}: only services/gateway/src/node may import ${name}`);
  });

/** Generated code is not among the files that people write; it imports its library and nothing else. */
const isGenerated = (path: string): boolean => path.startsWith("proto/gen/");

/** Where the names under which our packages are imported lead. */
function exportsOf(files: readonly SourceFile[]): Map<string, string> {
  const names = new Map<string, string>();
  for (const { path, text } of files) {
    if (!/(^|\/)package\.json$/.test(path)) continue;
    const manifest = JSON.parse(text) as { name?: string; exports?: Readonly<Record<string, unknown>> };
    for (const [key, target] of Object.entries(manifest.exports ?? {})) {
      if (typeof target === "string") names.set(`${manifest.name}${key.slice(1)}`, resolveRelative(path, target));
    }
  }
  return names;
}

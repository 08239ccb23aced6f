import { importsOf, isTest, isTypeScript, packageOf, type Rule, resolveRelative, workersOf } from "./source.ts";

const everything = [/^@florence\//];
const model = /^@florence\/model(\/|$)/;
const proto = /^@florence\/proto\//;
const embeddings = /^@florence\/embeddings(\/(nats|settings))?$/;
const service = /^@florence\/service(\/|$)/;
const [grpc, worker, node] = [
  /^@florence\/grpc(\/settings)?$/,
  /^@florence\/worker(\/(server|process))?$/,
  /^@florence\/node$/,
];
const telemetry = /^@florence\/telemetry(\/(config|registry))?$/;
const products = /^@florence\/(?!cli|playground|lab)/;
const tools = /^@florence\/nats-server(\/testing)?$/;

// Who may import which of our packages. What is absent is forbidden: the arrows point one way.
const table: [folder: RegExp, allowed: RegExp[]][] = [
  [/^proto$/, []],
  [/^packages\/service$/, []],
  [/^packages\/model$/, [service]],
  [/^packages\/embeddings$/, [service]],
  [/^packages\/(worker|node|hub)$/, [service]],
  [/^packages\/grpc$/, [proto, service]],
  // The tasks' names are labels of metrics.
  [/^packages\/telemetry$/, [service, /^@florence\/model\/tasks$/]],
  // The gateway carries no native runtime, so only the pure parts of the model are open to it.
  [/^services\/gateway$/, [proto, /^@florence\/model\/(tasks|answers)$/, service, grpc, node, telemetry]],
  [/^services\/(encoder|decoder)$/, [proto, model, embeddings, service, grpc, worker, node, telemetry]],
  [/^tools\/[^/]+$/, []],
  [/^apps\/[^/]+$/, [products]],
  [/^lab$/, everything],
  [/^$/, everything],
];

/** Our packages import each other only as the table allows; no service imports another. */
export const importsFollowTheTable: Rule = (files) =>
  files.flatMap(({ path, text }) => {
    if (!isTypeScript(path)) return [];
    const own = table.find(([folder]) => folder.test(packageOf(path)))?.[1] ?? [];
    const allowed = isTest(path) ? [...own, tools] : own;
    return importsOf(text)
      .filter((name) => name.startsWith("@florence/") && !allowed.some((pattern) => pattern.test(name)))
      .map((name) => `${path}: may not import ${name}`);
  });

/** A relative import stays in its package; only lab, which measures them, reaches into the others. */
export const relativeImportsStayHome: Rule = (files) =>
  files.flatMap(({ path, text }) =>
    isTypeScript(path) && packageOf(path) !== "lab"
      ? importsOf(text)
          .filter((name) => name.startsWith(".") && packageOf(resolveRelative(path, name)) !== packageOf(path))
          .map((name) => `${path}: ${name} is in another package`)
      : [],
  );

/** One folder knows the ONNX runtime, so that another runtime is another folder and not a hunt. */
export const oneFolderKnowsTheRuntime: Rule = (files) =>
  files.flatMap(({ path, text }) => {
    const home = path.startsWith("packages/model/src/engine/") || path.startsWith("lab/");
    if (!isTypeScript(path) || home) return [];
    return importsOf(text)
      .filter((name) => /^onnxruntime-/.test(name))
      .map((name) => `${path}: only packages/model/src/engine may import ${name}`);
  });

/** Every source file is reachable from an export, a bin, a main or a test; the rest is dead. */
export const noDeadFiles: Rule = (files) => {
  const texts = new Map(files.filter(({ path }) => isTypeScript(path)).map(({ path, text }) => [path, text]));
  const manifests = files.filter(({ path }) => /(^|\/)package\.json$/.test(path) && packageOf(path) !== "");
  const entries = manifests.flatMap(({ path, text }) => {
    const { exports, bin } = JSON.parse(text) as { exports?: unknown; bin?: unknown };
    return [...strings(exports), ...strings(bin)].map((target) => resolveRelative(path, target));
  });
  const mains = [...texts.keys()].filter((path) => path.endsWith("/src/main.ts") || isTest(path));
  const reached = new Set<string>();
  const open = [...entries, ...mains];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const text = texts.get(path);
    if (text === undefined || reached.has(path)) continue;
    reached.add(path);
    const next = [...importsOf(text).filter((name) => name.startsWith(".")), ...workersOf(text)];
    for (const name of next) open.push(resolveRelative(path, name));
  }
  return [...texts.keys()]
    .filter((path) => /^(packages|services|apps|tools)\/[^/]+\/src\//.test(path) && !reached.has(path))
    .map((path) => `${path}: nothing imports it`);
};

/** All strings within a value: an exports map nests conditions to any depth. */
function strings(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return value !== null && typeof value === "object" ? Object.values(value).flatMap(strings) : [];
}

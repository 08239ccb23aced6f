import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { ModelError } from "../errors.ts";
import { readJson } from "./files.ts";
import { adapterNames, findForeign, hasWeights } from "./weights.ts";

/** A folder that holds a checkpoint: config.json and weights. */
export interface CheckpointFolder {
  readonly root: string;
  /** For users: the folder's name, or owner/name of the repository where the folder is one of the Hugging Face cache's. */
  readonly name: string;
}

/**
 * Finds the checkpoint that a path means. Whatever cannot be used is named, with what is missing and what to do. Files are looked for,
 * not read. Throws checkpoint_file_missing where something has to be fetched or named otherwise, checkpoint_unsupported where the
 * weights are of a kind that is not read.
 */
export function recogniseFolder(path: string): CheckpointFolder {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw notThere(path);
  if (!found.isDirectory()) throw singleFile(path);
  const root = snapshotOf(resolve(path));
  if (!hasWeights(root)) throw withoutWeights(root);
  if (!existsSync(join(root, "config.json")))
    throw missing(
      `${root} holds weights but no config.json: copy it from the checkpoint that they were trained from, or from where they were downloaded.`,
    );
  return { root, name: nameOf(root) };
}

/** The folder of a repository owner/name in the Hugging Face cache. */
const cacheName = /^models--(?:(.+?)--)?(.+)$/;

function nameOf(root: string): string {
  const repository = basename(dirname(root)) === "snapshots" ? basename(dirname(dirname(root))) : "";
  const [, owner, name] = cacheName.exec(repository) ?? [];
  return name === undefined ? basename(root) : owner === undefined ? name : `${owner}/${name}`;
}

/** A repository's folder in the Hugging Face cache stands for its only snapshot; any other folder for itself. */
function snapshotOf(folder: string): string {
  const snapshots = join(folder, "snapshots");
  if (!cacheName.test(basename(folder)) || !existsSync(snapshots)) return folder;
  const names = readdirSync(snapshots).sort();
  if (names.length === 1) return join(snapshots, names[0] as string);
  throw missing(
    names.length === 0
      ? `${folder} is a repository of the Hugging Face cache without any snapshot: its download never finished. Download it again.`
      : `${folder} is a repository of the Hugging Face cache with ${names.length} snapshots: give one of them, such as ${join(snapshots, names[0] as string)}.`,
  );
}

function notThere(path: string): ModelError {
  // owner/name, as the Hugging Face Hub names repositories.
  if (/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(path))
    return missing(
      `There is no folder ${path}. If the repository of that name on the Hugging Face Hub is meant, fetch it first: florence pull ${path}.`,
    );
  return missing(`There is no checkpoint folder at ${path}.`);
}

function singleFile(path: string): ModelError {
  if (/\.(zip|tar|tgz|gz|bz2|xz|7z|rar)$/i.test(path))
    return missing(`${path} is an archive: unpack it and give the folder.`);
  return missing(`${path} is a file: give the folder that holds it, with config.json and the tokenizer beside it.`);
}

function withoutWeights(root: string): ModelError {
  const names = readdirSync(root);
  const folders = names.filter((name) => statSync(join(root, name), { throwIfNoEntry: false })?.isDirectory());
  if (names.includes("florence.json"))
    return unsupported(`${root} is a built folder: it is served as it is, and a checkpoint is needed here.`);
  if (names.includes("adapter_config.json") || adapterNames.some((name) => names.includes(name)))
    return missing(
      `${root} holds only an adapter${baseOf(root)}: give the folder of its base checkpoint, and this one with --adapter.`,
    );
  const foreign = findForeign(root);
  if (foreign)
    return unsupported(`${root} holds ${foreign.what} (${foreign.file}), which are not read: ${foreign.todo}.`);
  const repositories = folders.filter((name) => cacheName.test(name));
  if (repositories.length > 0)
    return missing(
      `${root} is a Hugging Face cache: give one of its repositories, such as ${join(root, repositories[0] as string)}.`,
    );
  const trained = folders.filter((name) => /^checkpoint-\d+$/.test(name)).sort(byNumber);
  if (trained.length > 0)
    return missing(
      `${root} holds a training's checkpoints: give one of them, such as ${join(root, trained.at(-1) as string)}.`,
    );
  const inside = folders.find((name) => hasWeights(join(root, name)));
  if (inside !== undefined) return missing(`${root} holds no weights itself: give its folder ${join(root, inside)}.`);
  const others = names.filter((name) => /\.(safetensors|bin|pt|pth|ckpt)$/.test(name));
  if (others.length > 0)
    return missing(
      `${root} holds no model.safetensors or pytorch_model.bin: if ${others[0]} is the model's weights, give it that name.`,
    );
  const settings = names.includes("config.json") ? "holds config.json but no weights" : "holds no checkpoint";
  return missing(`${root} ${settings}: model.safetensors is missing (or pytorch_model.bin). Download it again.`);
}

function baseOf(root: string): string {
  const base = readJson(root, "adapter_config.json")?.base_model_name_or_path;
  return typeof base === "string" && base !== "" ? ` for ${base}` : "";
}

const byNumber = (a: string, b: string) => Number(a.split("-").at(-1)) - Number(b.split("-").at(-1));

const missing = (message: string) => new ModelError("checkpoint_file_missing", message);
const unsupported = (message: string) => new ModelError("checkpoint_unsupported", message);

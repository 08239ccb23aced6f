import { closeSync, existsSync, openSync, readdirSync, readSync } from "node:fs";
import { basename, join } from "node:path";
import { ModelError } from "../errors.ts";
import { readJson } from "./files.ts";
import { detectLayout } from "./names.ts";
import { readPytorchHeader } from "./pytorch.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import type { StoredTensor } from "./stored-tensor.ts";

/** A folder's weights: the files that hold them and every tensor in them, under its own name without wrappers' prefixes. */
export interface Weights {
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** What was found that its user may not expect. */
  readonly notes: readonly string[];
}

/** The names under which a model's weights are saved, best first: safetensors needs no pickle. */
export const modelNames = ["model.safetensors", "pytorch_model.bin"] as const;
export const adapterNames = ["adapter_model.safetensors", "adapter_model.bin"] as const;

/** Whether a folder holds a model's weights, whole or in shards. */
export function hasWeights(folder: string): boolean {
  return modelNames.some((name) => existsSync(join(folder, name)) || existsSync(join(folder, `${name}.index.json`)));
}

/**
 * Reads where a model's tensors lie. A whole file comes before an index, which may be left over from an earlier save in shards.
 * Throws checkpoint_file_missing where there are none, and what the readers throw.
 */
export function readWeights(folder: string): Weights {
  const notes: string[] = [];
  const files = weightFiles(folder, notes);
  return { files, tensors: unwrapped(readTensors(files), notes), notes };
}

/** Every tensor of some weight files under its stored name. */
export function readTensors(files: readonly string[]): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const file of files) {
    const header = isPytorch(file) ? readPytorchHeader(file) : readSafetensorsHeader(file);
    for (const [name, tensor] of header) tensors.set(name, tensor);
  }
  return tensors;
}

/** Whether a file is one of torch.save's: by its first bytes, because files are renamed, and else by its name. */
function isPytorch(file: string): boolean {
  const start = Buffer.alloc(9);
  try {
    const fd = openSync(file, "r");
    try {
      readSync(fd, start, 0, start.length, 0);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw new ModelError("checkpoint_file_missing", `${basename(file)} cannot be read as a file.`, { cause });
  }
  if (start.toString("latin1", 0, 2) === "PK" || start.readUInt16LE() === 0x0280) return true; // a zip, or a bare pickle
  return file.endsWith(".bin") && start.at(8) !== 0x7b; // safetensors' header is JSON
}

function weightFiles(folder: string, notes: string[]): string[] {
  for (const name of modelNames) {
    const index = `${name}.index.json`;
    if (existsSync(join(folder, name))) {
      if (existsSync(join(folder, index)))
        notes.push(`${name} is read whole; ${index} beside it, of an earlier save in parts, is not.`);
      return [join(folder, name)];
    }
    if (existsSync(join(folder, index))) return shards(folder, index);
  }
  throw new ModelError("checkpoint_file_missing", `There is no model.safetensors in ${folder}.`);
}

function shards(folder: string, index: string): string[] {
  const map = readJson(folder, index)?.weight_map;
  if (!map || typeof map !== "object") throw new ModelError("checkpoint_config_invalid", `${index} has no weight_map.`);
  const names = [...new Set(Object.values(map))].map(String).sort();
  for (const name of names) {
    // A shard is a plain file of this folder; anything else could point outside it.
    if (basename(name) !== name)
      throw new ModelError("checkpoint_config_invalid", `${index} names ${name}, which is outside the folder.`);
  }
  const missing = names.filter((name) => !existsSync(join(folder, name)));
  if (missing.length > 0)
    throw new ModelError(
      "checkpoint_file_missing",
      `${missing.length} of ${names.length} parts of the weights are missing from ${folder}: ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ", …" : ""}.`,
    );
  return names.map((name) => join(folder, name));
}

// What DataParallel, torch.compile, PEFT and Lightning put before every name.
const wrappers = ["module.", "_orig_mod.", "base_model.model.", "model."];

/** The tensors without the prefixes that wrappers of the model put before all of their names. */
function unwrapped(stored: Map<string, StoredTensor>, notes: string[]): Map<string, StoredTensor> {
  let tensors = stored;
  const stripped: string[] = [];
  while (!detectLayout(tensors)) {
    const prefix = wrappers.find((p) => tensors.size > 0 && [...tensors.keys()].every((name) => name.startsWith(p)));
    if (prefix === undefined) break;
    tensors = new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor]));
    stripped.push(prefix);
  }
  if (!detectLayout(tensors)) return stored;
  if (stripped.length > 0) notes.push(`The tensors' names begin with ${stripped.join("")}, which was taken off.`);
  return tensors;
}

/** The weight files of other frameworks and trainers that a folder may hold instead, and what to do. */
export const foreignWeights: readonly { readonly file: RegExp; readonly what: string; readonly todo: string }[] = [
  {
    file: /^onnx$|\.onnx$/,
    what: "ONNX graphs",
    todo: "give the checkpoint that they were exported from (for onnx-community/NAME it is florence-community/NAME)",
  },
  { file: /\.gguf$/, what: "GGUF weights", todo: "give the checkpoint that they were converted from" },
  { file: /^openvino_.*\.(xml|bin)$/, what: "an OpenVINO export", todo: "give the checkpoint that it was made from" },
  {
    file: /^(flax_model\.msgpack|tf_model\.h5)$/,
    what: "Flax or TensorFlow weights",
    todo: "load them with transformers and save them as safetensors",
  },
  {
    file: /^(zero_to_fp32\.py|global_step\d+)$/,
    what: "a DeepSpeed checkpoint in parts",
    todo: "join them with its own zero_to_fp32.py",
  },
  {
    file: /^(pytorch_model_fsdp_\d+|__\d+_\d+\.distcp)$/,
    what: "an FSDP checkpoint in parts",
    todo: "join them with accelerate merge-weights",
  },
  {
    file: /^(weights\.\d+\.safetensors|weights\.npz|weights\.safetensors)$/,
    what: "MLX weights",
    todo: "give the checkpoint that they were converted from",
  },
];

/** The weights of another kind in a folder; undefined where there are none. */
export function findForeign(folder: string): { what: string; todo: string; file: string } | undefined {
  const names = readdirSync(folder);
  for (const { file, what, todo } of foreignWeights) {
    const found = names.find((name) => file.test(name));
    if (found !== undefined) return { what, todo, file: found };
  }
  return undefined;
}

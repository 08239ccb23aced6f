import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { ModelError } from "../errors.ts";
import { type Layout, type ModelConfig, parseConfig } from "./config.ts";
import {
  detectLayout,
  embeddingAliases,
  embeddingName,
  expectedTensors,
  headName,
  logitsBiasName,
  nativeName,
  projectionName,
} from "./names.ts";
import { readSafetensorsHeader, type StoredTensor } from "./safetensors.ts";

/** An opened checkpoint: its settings and where every tensor lies. Nothing of the weights is in memory. */
export interface Checkpoint {
  readonly folder: string;
  /** The folder's name, for users; owner/name for a snapshot in Hugging Face's cache. */
  readonly name: string;
  readonly layout: Layout;
  readonly config: ModelConfig;
  /** Every tensor that the graphs read, by native name. The head is absent where it is the embedding. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Microsoft's layout stores the image projection as [in, out]; native as [out, in]. */
  readonly projectionTransposed: boolean;
  /** The safetensors files, absolute. */
  readonly files: readonly string[];
}

/**
 * Opens a checkpoint folder in Microsoft's or Hugging Face's layout and checks that every tensor is there in its shape.
 * Throws ModelError with a checkpoint_* code that names the file or tensor.
 */
export function openCheckpoint(folder: string): Checkpoint {
  const root = resolve(folder);
  if (!existsSync(root) || !statSync(root).isDirectory()) {
    throw new ModelError("checkpoint_file_missing", `There is no checkpoint folder at ${folder}.`);
  }
  const files = weightFiles(root);
  const stored = new Map<string, StoredTensor>();
  for (const file of files) for (const [name, tensor] of readSafetensorsHeader(file)) stored.set(name, tensor);
  const layout = detectLayout(stored);
  if (!layout)
    throw new ModelError(
      "checkpoint_tensor_missing",
      `${folder} holds no Florence-2 weights: no vision_tower.convs.0 tensor was found.`,
    );

  const config = parseConfig(
    readJson(join(root, "config.json")),
    readJson(join(root, "generation_config.json"), {}),
    readJson(join(root, "preprocessor_config.json")),
  );
  const native = layout === "native" ? stored : renamed(stored);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, shape } of expectedTensors(config)) {
    const turned = layout === "original" && name === projectionName;
    tensors.set(name, checked(native, name, turned ? [...shape].reverse() : shape));
  }
  addEmbedding(native, tensors, config);
  return {
    folder: root,
    name: nameOf(root),
    layout,
    config,
    tensors,
    projectionTransposed: layout === "original",
    files,
  };
}

/** A snapshot's folder is named by its commit, which tells nobody anything: its repository is meant. */
function nameOf(root: string): string {
  const [, owner, name] = /[\\/]models--(.+?)--(.+)[\\/]snapshots[\\/][^\\/]+$/.exec(root) ?? [];
  return owner === undefined ? basename(root) : `${owner}/${name}`;
}

function addEmbedding(
  native: Map<string, StoredTensor>,
  tensors: Map<string, StoredTensor>,
  config: ModelConfig,
): void {
  const alias = embeddingAliases.find((name) => native.has(name));
  if (!alias) {
    throw new ModelError(
      "checkpoint_tensor_missing",
      `The token embedding is missing: none of ${embeddingAliases.join(", ")} was found.`,
    );
  }
  const rows = native.get(alias)?.shape[0] as number;
  tensors.set(embeddingName, checked(native, alias, [rows, config.text.hidden]));
  // A fine-tune may carry a head of its own; where it is a stored copy of the embedding it costs memory and changes nothing.
  const head = native.get(headName);
  if (head && alias !== headName) tensors.set(headName, checked(native, headName, [rows, config.text.hidden]));
  // A bias of another length belongs to another vocabulary and is ignored, as the reference does.
  const bias = native.get(logitsBiasName);
  if (bias?.shape.at(-1) === rows) tensors.set(logitsBiasName, bias);
}

function checked(native: Map<string, StoredTensor>, name: string, shape: readonly number[]): StoredTensor {
  const tensor = native.get(name);
  if (!tensor) throw new ModelError("checkpoint_tensor_missing", `Tensor ${name} is missing from the checkpoint.`);
  if (tensor.shape.join() !== shape.join()) {
    throw new ModelError(
      "checkpoint_tensor_shape",
      `Tensor ${tensor.name} has shape [${tensor.shape}] where config.json needs [${shape}].`,
    );
  }
  return tensor;
}

function renamed(stored: Map<string, StoredTensor>): Map<string, StoredTensor> {
  return new Map([...stored].map(([name, tensor]) => [nativeName(name), tensor]));
}

function weightFiles(root: string): string[] {
  const index = join(root, "model.safetensors.index.json");
  if (existsSync(index)) {
    const map = readJson(index).weight_map as Record<string, unknown> | undefined;
    if (!map || typeof map !== "object")
      throw new ModelError("checkpoint_config_invalid", "model.safetensors.index.json has no weight_map.");
    const names = [...new Set(Object.values(map))].map(String).sort();
    for (const name of names) {
      // A shard is a plain file of this folder; anything else could point outside it.
      if (basename(name) !== name)
        throw new ModelError(
          "checkpoint_config_invalid",
          `model.safetensors.index.json names ${name}, which is outside the folder.`,
        );
      if (!existsSync(join(root, name)))
        throw new ModelError("checkpoint_file_missing", `Shard ${name} of the checkpoint is missing.`);
    }
    return names.map((name) => join(root, name));
  }
  const single = join(root, "model.safetensors");
  if (!existsSync(single)) {
    const pickled = existsSync(join(root, "pytorch_model.bin"));
    throw new ModelError(
      "checkpoint_file_missing",
      `model.safetensors is missing from ${root}.${pickled ? " pytorch_model.bin is not read: convert it to safetensors first." : ""}`,
    );
  }
  return [single];
}

function readJson(file: string, fallback?: Record<string, unknown>): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if (fallback) return fallback;
    throw new ModelError("checkpoint_file_missing", `${basename(file)} is missing from the checkpoint folder.`, {
      cause,
    });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ModelError("checkpoint_config_invalid", `${basename(file)} is not valid JSON.`, { cause });
  }
}

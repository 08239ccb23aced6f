import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { ModelError } from "../errors.ts";
import type { TaskRow } from "../tasks.ts";
import { type Adapter, applyAdapter, hasAdapter, openAdapter } from "./adapter.ts";
import { type Layout, type ModelConfig, parseConfig } from "./config.ts";
import { sameNumbers } from "./convert.ts";
import { type Json, readJson, settingsFiles } from "./files.ts";
import {
  decoderEmbeddingName,
  detectLayout,
  embeddingAliases,
  embeddingName,
  expectedTensors,
  headName,
  logitsBiasName,
  nativeName,
  projectionName,
} from "./names.ts";
import { modelCardPreprocess } from "./preprocess-config.ts";
import { recogniseFolder } from "./recognise.ts";
import { isPlain, type StoredTensor } from "./stored-tensor.ts";
import { readTasksFile } from "./tasks-file.ts";
import { readWeights } from "./weights.ts";

/** An opened checkpoint: its settings and where every tensor lies. Nothing of the weights is in memory. */
export interface Checkpoint {
  readonly folder: string;
  /** For users: the folder's or repository's name, and those of adapters. */
  readonly name: string;
  readonly layout: Layout;
  readonly config: ModelConfig;
  /**
   * Every tensor that the graphs read, by native name. The head and the decoder's own token embedding are absent where they are the
   * token embedding, or a copy of it.
   */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Microsoft's layout stores the image projection as [in, out]; native as [out, in]. */
  readonly projectionTransposed: boolean;
  /** The files that hold the weights, and the adapters' files, absolute: their bytes are the model. */
  readonly files: readonly string[];
  /** Every other file that was or could have been read, absolute: one that changes or appears changes the checkpoint. */
  readonly settings: readonly string[];
  /** Where the tokenizer's files lie. */
  readonly processorFolder: string;
  /** A fine-tune's own tasks. */
  readonly tasks: readonly TaskRow[];
  /** What its user may not expect, a sentence each. */
  readonly notes: readonly string[];
}

export interface OpenOptions {
  /** The folder of the tokenizer and the image processor, where they are not beside the weights. */
  readonly processor?: string | undefined;
  /** A file of a fine-tune's own tasks, instead of tasks.json beside the weights. */
  readonly tasks?: string | undefined;
  /** Folders of LoRA adapters to put on top, in this order. One beside the weights comes first, unasked. */
  readonly adapters?: readonly string[] | undefined;
}

/**
 * Opens a checkpoint folder in Microsoft's or Hugging Face's layout and checks that every tensor is there in its shape.
 * Throws ModelError with a checkpoint_* code that says what is wrong and what to do.
 */
export function openCheckpoint(path: string, { processor, tasks, adapters = [] }: OpenOptions = {}): Checkpoint {
  const { root, name } = recogniseFolder(path);
  const configJson = readJson(root, "config.json") as Json;
  checkKind(configJson);
  const weights = readWeights(root);
  const notes = [...weights.notes];
  const tasksFile = tasks === undefined ? join(root, "tasks.json") : fileAt(tasks);
  const layout = layoutOf(weights.tensors, root);
  const processorFolder = processor === undefined ? root : folderAt(processor);
  checkTokenizerThere(processorFolder, root);
  const config = parseConfig(layout, {
    config: configJson,
    generation: generationJson(root, layout, notes),
    preprocessor: imageProcessorJson(processorFolder, notes),
  });

  const native = new Map(
    [...weights.tensors].map(([key, tensor]) => [layout === "native" ? key : nativeName(key), tensor]),
  );
  const used = openAdapters(root, adapters);
  for (const adapter of used) applyAdapter(native, adapter, layout);
  const tensors = new Map<string, StoredTensor>();
  for (const { name: key, shape } of expectedTensors(config)) {
    const turned = layout === "original" && key === projectionName;
    tensors.set(key, checked(native, key, turned ? [...shape].reverse() : shape));
  }
  addTables(native, tensors, config, notes);
  if (!native.has(headName) && configJson.tie_word_embeddings === false)
    notes.push(
      "The output head is missing though config.json says that it is no copy (tie_word_embeddings): the token embedding is used.",
    );
  return {
    folder: root,
    name: [name, ...used.map((adapter) => (adapter.folder === root ? "adapter" : adapter.name))].join("+"),
    layout,
    config,
    tensors,
    projectionTransposed: layout === "original",
    files: [...weights.files, ...used.flatMap(({ files }) => files)],
    settings: [
      ...[...new Set([root, processorFolder])].flatMap((folder) => settingsFiles.map((file) => join(folder, file))),
      ...(tasks === undefined ? [] : [tasksFile]),
    ],
    processorFolder,
    tasks: readTasksFile(tasksFile),
    notes,
  };
}

/** Refuses what is another model, or weights that were quantised: their numbers are not those of the layers. */
function checkKind(config: Json): void {
  const type = config.model_type;
  if (typeof type === "string" && !/^florence/i.test(type))
    throw new ModelError("checkpoint_unsupported", `config.json describes a model of type ${type}, not Florence-2.`);
  const quantized = config.quantization_config as Json | null | undefined;
  if (!quantized) return;
  const bits = quantized.load_in_4bit ? " in 4 bits" : quantized.load_in_8bit ? " in 8 bits" : "";
  throw new ModelError(
    "checkpoint_unsupported",
    `The weights were quantised with ${String(quantized.quant_method ?? "some method")}${bits}, which is not read: give the checkpoint before that, or save it after model.dequantize(), and choose a --precision here.`,
  );
}

function layoutOf(tensors: ReadonlyMap<string, StoredTensor>, root: string): Layout {
  if ([...tensors.keys()].some((key) => key.includes(".lora_A.") || key.includes(".base_layer.")))
    throw new ModelError(
      "checkpoint_unsupported",
      `${root} holds a model with an adapter wrapped around it: save it after merge_and_unload(), or save base and adapter apart.`,
    );
  const layout = detectLayout(tensors);
  if (layout) return layout;
  throw new ModelError(
    "checkpoint_tensor_missing",
    `${root} holds no Florence-2 weights: no vision_tower.convs.0 tensor was found.`,
  );
}

function folderAt(path: string): string {
  const folder = resolve(path);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return folder;
  throw new ModelError("checkpoint_file_missing", `There is no processor folder at ${path}.`);
}

function fileAt(path: string): string {
  const file = resolve(path);
  if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  throw new ModelError("checkpoint_file_missing", `There is no file of tasks at ${path}.`);
}

function checkTokenizerThere(folder: string, root: string): void {
  const has = (...files: string[]) => files.every((file) => existsSync(join(folder, file)));
  if (has("tokenizer.json") || has("vocab.json", "merges.txt")) return;
  throw new ModelError(
    "checkpoint_file_missing",
    folder === root
      ? `${root} holds no tokenizer (tokenizer.json, or vocab.json with merges.txt): name a folder that does with --processor, such as that of the checkpoint it was trained from.`
      : `${folder} holds no tokenizer (tokenizer.json, or vocab.json with merges.txt).`,
  );
}

function generationJson(root: string, layout: Layout, notes: string[]): Json | undefined {
  const json = readJson(root, "generation_config.json");
  if (!json && layout === "native")
    notes.push(
      "There is no generation_config.json: answers are generated as the model card has it (3 beams, no run of 3 tokens twice), unless text_config says otherwise.",
    );
  return json;
}

/** The image processor's settings: inside processor_config.json, where transformers 5 writes them, or in a file of their own. */
function imageProcessorJson(folder: string, notes: string[]): Json {
  const inside = readJson(folder, "processor_config.json")?.image_processor;
  if (typeof inside === "object" && inside !== null) return inside as Json;
  const own = readJson(folder, "preprocessor_config.json");
  if (own) return own;
  notes.push(
    "There are no settings for images (preprocessor_config.json, or processor_config.json with an image_processor): the model card's are used, 768 x 768 pixels.",
  );
  return modelCardPreprocess;
}

function openAdapters(root: string, paths: readonly string[]): Adapter[] {
  const folders = [...(hasAdapter(root) ? [root] : []), ...paths.map((path) => resolve(path))];
  return [...new Set(folders)].map(openAdapter);
}

/** The token embedding, and the decoder's own table and the head as far as they are others. */
function addTables(
  native: Map<string, StoredTensor>,
  tensors: Map<string, StoredTensor>,
  config: ModelConfig,
  notes: string[],
): void {
  const alias = embeddingAliases.find((name) => native.has(name));
  if (!alias) {
    throw new ModelError(
      "checkpoint_tensor_missing",
      `The token embedding is missing: none of ${embeddingAliases.join(", ")} was found.`,
    );
  }
  const { vocabulary, hidden } = config.text;
  const table = checked(native, alias, [vocabulary, hidden]);
  tensors.set(embeddingName, table);
  for (const [name, what] of [
    [decoderEmbeddingName, "decoder's token embedding"],
    [headName, "output head"],
  ] as const) {
    if (name === alias || !native.has(name)) continue;
    const own = checked(native, name, [vocabulary, hidden]);
    if (sameNumbers(table, own)) continue;
    tensors.set(name, own);
    if (isPlain(own))
      notes.push(`The ${what} is stored apart and differs from the prompt's token embedding: it is used as stored.`);
  }
  // A bias of another length belongs to another vocabulary and is ignored, as the reference does.
  const bias = native.get(logitsBiasName);
  if (bias?.shape.at(-1) === vocabulary) tensors.set(logitsBiasName, bias);
  checkIds(config);
}

/** Ids that a search or a prompt always uses have rows in the table. */
function checkIds({ text, generation }: ModelConfig): void {
  const ids = {
    bos: text.bos,
    pad: text.pad,
    decoder_start: text.decoderStart,
    forced_bos: generation.forcedBos,
    forced_eos: generation.forcedEos,
  };
  const named = [...Object.entries(ids), ...text.eos.map((id) => ["eos", id] as const)];
  for (const [name, id] of named) {
    if (id === undefined || (Number.isInteger(id) && id >= 0 && id < text.vocabulary)) continue;
    throw new ModelError(
      "checkpoint_config_invalid",
      `${name}_token_id is ${String(id)}, but the token embedding has ${text.vocabulary} rows.`,
    );
  }
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

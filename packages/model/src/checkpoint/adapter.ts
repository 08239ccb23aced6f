import { existsSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { ModelError } from "../errors.ts";
import type { Layout } from "./config.ts";
import { type Json, readJson } from "./files.ts";
import { embeddingAliases, nativeName, projectionName } from "./names.ts";
import type { LowRank, StoredTensor } from "./stored-tensor.ts";
import { adapterNames, readTensors } from "./weights.ts";

/** A LoRA adapter in PEFT's format, opened: its settings, and where its tensors lie. */
export interface Adapter {
  readonly folder: string;
  /** The folder's name, for users. */
  readonly name: string;
  readonly config: Json;
  /** Its weights and its settings: what it is, byte for byte. */
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

export const adapterConfigName = "adapter_config.json";

/** Whether a folder holds an adapter. */
export function hasAdapter(folder: string): boolean {
  return existsSync(join(folder, adapterConfigName));
}

// Kinds of adapter that compute something else than weight + scale * b @ a, by the key of adapter_config.json that switches them on.
const otherKinds = [
  "use_dora",
  "use_qalora",
  "use_bdlora",
  "lora_bias",
  "fan_in_fan_out",
  "layer_replication",
  "trainable_token_indices",
  "target_parameters",
  "megatron_config",
  "alora_invocation_tokens",
  "arrow_config",
  "monteclora_config",
  "kasa_config",
  "velora_config",
];

/** Opens an adapter's folder. Throws checkpoint_file_missing or checkpoint_unsupported, naming what is not supported. */
export function openAdapter(path: string): Adapter {
  const folder = resolve(path);
  const name = basename(folder);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new ModelError("checkpoint_file_missing", `There is no adapter folder at ${path}.`);
  const config = readJson(folder, adapterConfigName);
  if (!config)
    throw new ModelError("checkpoint_file_missing", `${adapterConfigName} is missing from the adapter ${path}.`);
  if (config.peft_type !== "LORA")
    throw unsupported(name, `it is of the kind ${String(config.peft_type)}; only LORA is supported`);
  for (const key of otherKinds) if (isSet(config[key])) throw unsupported(name, `it uses ${key}`);
  const init = config.init_lora_weights;
  if (typeof init === "string" && !["gaussian", "orthogonal", "eva"].includes(init))
    throw unsupported(name, `init_lora_weights ${init} changes the base's own weights`);
  const weights = adapterNames.map((file) => join(folder, file)).find((file) => existsSync(file));
  if (weights === undefined)
    throw new ModelError("checkpoint_file_missing", `${adapterNames[0]} is missing from the adapter ${path}.`);
  return { folder, name, config, files: [weights, join(folder, adapterConfigName)], tensors: readTensors([weights]) };
}

function isSet(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

/**
 * Puts an adapter on a model's tensors (by native name): products are added to weights, modules saved whole take their places. The
 * adapter may use either layout's names, whatever the model's. Throws checkpoint_unsupported or checkpoint_tensor_shape.
 */
export function applyAdapter(native: Map<string, StoredTensor>, adapter: Adapter, layout: Layout): void {
  const table = embeddingAliases.map((name) => native.get(name)).find((tensor) => tensor !== undefined);
  for (const [stored, tensor] of adapter.tensors) {
    const key = stored.replace(/^base_model\.model\./, "").replace(/\.(base_layer|modules_to_save(\.default)?)\./, ".");
    const [, module, part] = /^(.+)\.lora_([AB])(?:\.default)?\.weight$/.exec(key) ?? [];
    if (module !== undefined) {
      if (part === "A") addTo(native, adapter, { module, a: tensor, stored, layout });
      continue;
    }
    if (/\.lora_/.test(key)) throw unsupported(adapter.name, `its tensor ${stored} is of a kind that is not supported`);
    const name = nameIn(native, key);
    const isTable = embeddingAliases.includes(name);
    if (!isTable && (!native.has(name) || isTurned(name, layout)))
      throw unsupported(adapter.name, `its tensor ${stored} has no place in the checkpoint`);
    // Training one of the tied tables unties it: the others stay what they were.
    if (isTable && table) for (const alias of embeddingAliases) if (!native.has(alias)) native.set(alias, table);
    native.set(name, tensor);
  }
}

/** Whether Microsoft's layout stores a weight the other way round, which is no place for a native adapter's product. */
function isTurned(name: string, layout: Layout): boolean {
  return name === projectionName && layout === "original";
}

interface AdaptedModule {
  /** As the adapter names it. */
  readonly module: string;
  readonly a: StoredTensor;
  /** The name of `a` in the adapter's file. */
  readonly stored: string;
  readonly layout: Layout;
}

function addTo(
  native: Map<string, StoredTensor>,
  adapter: Adapter,
  { module, a, stored, layout }: AdaptedModule,
): void {
  const b = adapter.tensors.get(stored.replace(/\.lora_A(?=(\.default)?\.weight$)/, ".lora_B"));
  if (!b) throw unsupported(adapter.name, `${stored} has no lora_B beside it`);
  const name = nameIn(native, `${module}.weight`);
  if (embeddingAliases.includes(name))
    throw unsupported(
      adapter.name,
      `it adapts the token embedding or the head (${module}), which the model ties together`,
    );
  const base = native.get(name);
  if (!base || isTurned(name, layout))
    throw unsupported(adapter.name, `its module ${module} is not one of the checkpoint's that can be adapted`);
  const rank = a.shape[0] as number;
  const [rows, columns] = [base.shape[0] as number, count(base.shape) / (base.shape[0] as number)];
  if (b.shape[0] !== rows || count(b.shape) !== rows * rank || count(a.shape) !== rank * columns)
    throw new ModelError(
      "checkpoint_tensor_shape",
      `The adapter ${adapter.name} does not fit the checkpoint: ${module} is [${base.shape}], its lora_A [${a.shape}] and lora_B [${b.shape}].`,
    );
  const added: LowRank = { a, b, scale: scaleOf(adapter, module, rank) };
  native.set(name, { ...base, added: [...(base.added ?? []), added] });
}

/** alpha / r, or alpha / sqrt(r) in rank-stabilised adapters; both may differ by module. */
function scaleOf({ config, name }: Adapter, module: string, rank: number): number {
  const alpha = ofModule(config.alpha_pattern, module) ?? config.lora_alpha;
  const r = ofModule(config.rank_pattern, module) ?? config.r;
  if (typeof alpha !== "number" || !Number.isFinite(alpha)) throw unsupported(name, "its lora_alpha is no number");
  if (r !== rank) throw unsupported(name, `${module} has rank ${rank} where its settings say ${String(r)}`);
  return config.use_rslora === true ? alpha / Math.sqrt(rank) : alpha / rank;
}

/** The value of the first pattern that ends a module's path, as PEFT matches them. */
function ofModule(patterns: unknown, module: string): unknown {
  for (const [pattern, value] of Object.entries((patterns ?? {}) as Json)) {
    try {
      if (new RegExp(`^(.*\\.)?(${pattern})$`).test(module)) return value;
    } catch {
      if (module === pattern || module.endsWith(`.${pattern}`)) return value;
    }
  }
  return undefined;
}

function nameIn(native: ReadonlyMap<string, StoredTensor>, name: string): string {
  return native.has(name) ? name : nativeName(name);
}

const count = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

function unsupported(name: string, why: string): ModelError {
  return new ModelError("checkpoint_unsupported", `The adapter ${name} cannot be used: ${why}.`);
}

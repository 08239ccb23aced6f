import { adapterConfigName } from "./adapter.ts";
import { settingsFiles } from "./files.ts";
import { adapterNames, modelNames } from "./weights.ts";

/**
 * Of a repository's files those that a checkpoint is made of, the small ones first: settings, an adapter beside the weights, and the weights
 * in their best form (safetensors before pickles, one whole file before parts with their index). Without weights or config there are none.
 */
export function neededFiles(names: readonly string[]): string[] {
  const weights = modelNames.map((name) => wholeOrParts(name, names)).find((found) => found.length > 0);
  if (!weights || !names.includes("config.json")) return [];
  const adapter = adapterNames.find((name) => names.includes(name));
  const beside = adapter !== undefined && names.includes(adapterConfigName) ? [adapterConfigName, adapter] : [];
  return [...names.filter((name) => settingsFiles.includes(name)), ...beside, ...weights];
}

/** model.safetensors, or model-00001-of-00002.safetensors and so on with model.safetensors.index.json. */
function wholeOrParts(name: string, names: readonly string[]): string[] {
  if (names.includes(name)) return [name];
  const [stem, ending] = name.split(".");
  const part = new RegExp(`^${stem}-\\d+-of-\\d+\\.${ending}$`);
  return names.filter((other) => part.test(other) || other === `${name}.index.json`).sort();
}

// What a folder needs to be a checkpoint: settings of the model, of its images and of its text, and the weights.
const settings = new Set([
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "tasks.json",
]);

// In order of preference: one whole file, shards with their index, and pickles only where there is nothing else.
const weights: readonly RegExp[] = [
  /^model\.safetensors$/,
  /^model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)$/,
  /^pytorch_model\.bin$/,
  /^pytorch_model(-\d+-of-\d+\.bin|\.bin\.index\.json)$/,
];

/** Of a repository's files those that answers need, the small ones first. Without weights or config there are none. */
export function neededFiles(names: readonly string[]): string[] {
  const best = weights.map((pattern) => names.filter((name) => pattern.test(name))).find((found) => found.length > 0);
  if (!best || !names.includes("config.json")) return [];
  return [...names.filter((name) => settings.has(name)), ...best.sort()];
}

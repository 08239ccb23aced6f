import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const fixtures = fileURLToPath(new URL("../../test/fixtures/odd-windows/", import.meta.url));
const baseEntries = 50265; // of BART's vocabulary; <mask> is the last
const addedTokens = 1024;

interface TokenizerJson {
  added_tokens: { id: number; content: string }[];
  model: { vocab: Record<string, number> };
}

/**
 * Writes a tokenizer whose ids stand where the real one's do: the fixtures' small vocabulary, filled up with entries that no text uses.
 * The real vocabulary is not part of this repository.
 */
export function writeTokenizer(folder: string, layout: "native" | "original"): void {
  const json: TokenizerJson = JSON.parse(readFileSync(join(fixtures, layout, "tokenizer.json"), "utf8"));
  const { vocab } = json.model;
  const small = Object.keys(vocab).length; // <mask> included, as the last
  const maskId = vocab["<mask>"] as number;
  for (let id = small; id < baseEntries; id++) vocab[`Ġunused${id}`] = id - 1;
  vocab["<mask>"] = baseEntries - 1;
  if (maskId !== small - 1) throw new Error("the fixtures' vocabulary does not end in <mask>");
  for (const token of json.added_tokens) if (token.id >= maskId) token.id += baseEntries - small;
  const last = json.added_tokens.at(-1)?.id as number;
  const expected = layout === "native" ? baseEntries + addedTokens : baseEntries - 1;
  if (last !== expected) throw new Error(`the last added token has id ${last}, not ${expected}`);
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(json));
  writeFileSync(join(folder, "tokenizer_config.json"), readFileSync(join(fixtures, layout, "tokenizer_config.json")));
}

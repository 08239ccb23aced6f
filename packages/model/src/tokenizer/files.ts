import { readJson, readText } from "../checkpoint/files.ts";
import { ModelError } from "../errors.ts";
import { locationBins, locationToken } from "../text/locations.ts";

/** A token that is split out of a text before anything else. */
export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  normalized: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  single_word?: boolean;
}

/** The parts of a tokenizer.json that are read or written here. */
export interface TokenizerJson {
  model: { type?: string; vocab: Record<string, number>; merges: unknown[] };
  added_tokens: AddedToken[];
  [part: string]: unknown;
}

/** The tokens that Florence-2 adds to BART's, in the order of their ids. region_to_desciption is spelt so. */
const florenceTokens: readonly string[] = [
  ...["<od>", "</od>", "<ocr>", "</ocr>"],
  ...Array.from({ length: locationBins }, (_, bin) => locationToken(bin)),
  ...["cap", "ncap", "dcap", "grounding", "seg"].flatMap((name) => [`<${name}>`, `</${name}>`]),
  "<sep>",
  ...["region_cap", "region_to_desciption", "proposal", "poly"].flatMap((name) => [`<${name}>`, `</${name}>`]),
  "<and>",
];

/**
 * Reads a checkpoint folder's tokenizer.json or, without one, its vocab.json and merges.txt, with the tokens of an
 * added_tokens.json. Florence-2's own tokens are added where they are missing, with ids past the last known one.
 * Throws checkpoint_file_missing or checkpoint_config_invalid.
 */
export function readTokenizerFiles(folder: string): { tokenizer: TokenizerJson; config: Record<string, unknown> } {
  const tokenizer = readTokenizerJson(folder);
  const config = readJson(folder, "tokenizer_config.json");
  const added = readJson(folder, "added_tokens.json");
  const firstFree = nextId(tokenizer);
  const given = Object.entries(added ?? {}).flatMap(([content, id]) =>
    Number.isInteger(id) ? [addedToken(Number(id), content)] : [],
  );
  addTokens(tokenizer, given);
  addTokens(tokenizer, missingFlorenceTokens(tokenizer, firstFree));
  return { tokenizer, config: config ?? {} };
}

function readTokenizerJson(folder: string): TokenizerJson {
  const whole = readJson(folder, "tokenizer.json");
  if (whole !== undefined) return checkTokenizerJson(whole);
  const vocab = readJson(folder, "vocab.json");
  const merges = readText(folder, "merges.txt");
  if (vocab === undefined || merges === undefined)
    throw new ModelError(
      "checkpoint_file_missing",
      "The checkpoint has neither tokenizer.json nor vocab.json with merges.txt.",
    );
  return fromVocabulary(checkVocabulary(vocab, "vocab.json"), merges);
}

/** BART's tokenizer from its two older files. */
function fromVocabulary(vocab: Record<string, number>, merges: string): TokenizerJson {
  const idOf = (content: string): number => {
    const id = vocab[content];
    if (id === undefined) throw new ModelError("checkpoint_config_invalid", `vocab.json lacks the token ${content}.`);
    return id;
  };
  const specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];
  const rules = merges.split(/\r?\n/).filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version")));
  return {
    version: "1.0",
    added_tokens: specials.map((content) => addedToken(idOf(content), content, true, content === "<mask>")),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: {
      type: "RobertaProcessing",
      sep: ["</s>", idOf("</s>")],
      cls: ["<s>", idOf("<s>")],
      trim_offsets: true,
      add_prefix_space: false,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", unk_token: "<unk>", vocab, merges: rules } as TokenizerJson["model"],
  };
}

function addedToken(id: number, content: string, special = false, lstrip = false): AddedToken {
  return { id, content, single_word: false, lstrip, rstrip: false, normalized: false, special };
}

/** Adds those tokens that are not split out yet. */
function addTokens({ added_tokens }: TokenizerJson, tokens: readonly AddedToken[]): void {
  const known = new Set(added_tokens.map(({ content }) => content));
  added_tokens.push(...tokens.filter(({ content }) => !known.has(content)));
}

/** Florence-2's own tokens as far as they are not split out yet: each with the vocabulary's id or the next free one. */
function missingFlorenceTokens({ model, added_tokens }: TokenizerJson, firstFree: number): AddedToken[] {
  const known = new Set(added_tokens.map(({ content }) => content));
  const taken = new Set(added_tokens.map(({ id }) => id));
  let next = firstFree;
  const nextFree = (): number => {
    while (taken.has(next)) next += 1;
    return next++;
  };
  return florenceTokens
    .filter((content) => !known.has(content))
    .map((content) => addedToken(model.vocab[content] ?? nextFree(), content));
}

/** One past the last known id. */
export function nextId({ model, added_tokens }: TokenizerJson): number {
  const last = (max: number, id: number): number => Math.max(max, id);
  return 1 + Object.values(model.vocab).reduce(last, added_tokens.map(({ id }) => id).reduce(last, -1));
}

function checkTokenizerJson(json: Record<string, unknown>): TokenizerJson {
  const { model, added_tokens = [] } = json as Partial<TokenizerJson>;
  if (typeof model !== "object" || model === null || !Array.isArray(model.merges) || !Array.isArray(added_tokens))
    throw new ModelError("checkpoint_config_invalid", "tokenizer.json does not hold a byte-pair encoding.");
  if (!JSON.stringify(json.decoder ?? null).includes('"ByteLevel"'))
    throw new ModelError("checkpoint_config_invalid", "tokenizer.json is not byte-level, as Florence-2's is.");
  const vocab = checkVocabulary(model.vocab, "tokenizer.json");
  return {
    ...json,
    model: { ...model, type: "BPE", vocab },
    added_tokens: added_tokens.map((token) => ({ ...token })),
  };
}

function checkVocabulary(vocab: unknown, file: string): Record<string, number> {
  const valid =
    typeof vocab === "object" && vocab !== null && Object.values(vocab).every((id) => Number.isInteger(id) && id >= 0);
  if (!valid) throw new ModelError("checkpoint_config_invalid", `${file} holds no vocabulary of whole-numbered ids.`);
  return vocab as Record<string, number>;
}

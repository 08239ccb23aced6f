import { ModelError } from "../errors.ts";
import { locationBins } from "../text/locations.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Checkpoint } from "./checkpoint.ts";

/**
 * Loads a checkpoint's tokenizer and compares it with the token embedding. A tokenizer that knows more tokens than the table has rows
 * is usable but for those tokens: a prompt with one is refused when it comes (encodePrompt). Returns what there is to say about it.
 * Throws checkpoint_file_missing or checkpoint_config_invalid.
 */
export async function checkTokenizer({ processorFolder, config }: Checkpoint): Promise<string[]> {
  const tokenizer = await Tokenizer.load(processorFolder);
  const rows = config.text.vocabulary;
  if (tokenizer.locationBase + locationBins > rows)
    throw new ModelError(
      "checkpoint_config_invalid",
      `The tokenizer does not belong to these weights: its location tokens end at id ${tokenizer.locationBase + locationBins - 1}, and the token embedding has ${rows} rows.`,
    );
  const beyond = tokenizer.size - rows;
  if (beyond <= 0) return [];
  const named = Array.from({ length: Math.min(beyond, 3) }, (_, i) => tokenizer.decode([rows + i])).filter(Boolean);
  return [
    `The tokenizer knows ${beyond} ${beyond === 1 ? "token" : "tokens"} that the token embedding has no row for (${named.join(", ")}): prompts with them are refused.`,
  ];
}

import type { Manifest } from "./compile/manifest.ts";
import { ModelError } from "./errors.ts";
import { promptTokensMax } from "./generation/options.ts";
import { buildPrompt, type TaskRow } from "./tasks.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/** The placeholder that the reference puts in an image's place: a prompt must not hold it, because the image is put in otherwise. */
const imageToken = "<image>";

/**
 * The ids of a task's prompt, <s> and </s> included: all of them rows of the token embedding. Throws prompt_token_invalid,
 * prompt_too_long and what buildPrompt throws.
 */
export function encodePrompt(
  { tokenizer, manifest }: { readonly tokenizer: Tokenizer; readonly manifest: Manifest },
  task: TaskRow,
  input?: string,
): number[] {
  const ids = tokenizer.encode(buildPrompt(task, input));
  const longest = promptTokensMax(manifest.config);
  if (ids.length > longest)
    throw new ModelError(
      "prompt_too_long",
      `The prompt has ${ids.length} tokens; this model takes at most ${longest}.`,
    );
  const placeholder = tokenizer.tokenId(imageToken);
  if (placeholder !== undefined && ids.includes(placeholder))
    throw new ModelError(
      "prompt_token_invalid",
      `The prompt holds the token ${imageToken}, which stands for the image itself: leave it out.`,
    );
  const rows = manifest.config.text.vocabulary;
  const beyond = ids.find((id) => id < 0 || id >= rows);
  if (beyond !== undefined)
    throw new ModelError(
      "prompt_token_invalid",
      `The prompt holds the token ${JSON.stringify(tokenizer.decode([beyond]))}, which this model's tokenizer knows and its weights do not.`,
    );
  return ids;
}

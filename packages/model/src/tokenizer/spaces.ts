import type { TokenizerJson } from "./files.ts";

// JavaScript's white space counts U+FEFF and not U+0085; the reference's is Unicode's White_Space. The library uses JavaScript's in two
// places, and each is given what the reference does instead.

// How byte-level BPE cuts a text before it merges, as the reference writes it. In a pattern the library reads \s as the reference does.
const pieces = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

type Step = { readonly type?: unknown; readonly use_regex?: unknown; readonly pretokenizers?: unknown };

/** A tokenizer that cuts texts by that pattern, and leaves the spaces beside special tokens to trimBeside. */
export function withReferenceSpaces(tokenizer: TokenizerJson): TokenizerJson {
  return {
    ...tokenizer,
    added_tokens: tokenizer.added_tokens.map((token) => ({ ...token, lstrip: false, rstrip: false })),
    pre_tokenizer: changed(tokenizer.pre_tokenizer as Step | null | undefined),
  };
}

function changed(step: Step | null | undefined): unknown {
  if (step?.type === "Sequence" && Array.isArray(step.pretokenizers))
    return { ...step, pretokenizers: step.pretokenizers.map(changed) };
  if (step?.type !== "ByteLevel" || step.use_regex === false) return step;
  const cut = { type: "Split", pattern: { Regex: pieces }, behavior: "Isolated", invert: false };
  return { type: "Sequence", pretokenizers: [cut, { ...step, use_regex: false }] };
}

/** Takes away the spaces before or behind those tokens that swallow them, such as <mask>. */
export function trimBeside({ added_tokens }: TokenizerJson): (text: string) => string {
  const patterns = added_tokens.flatMap(({ content, lstrip, rstrip }) => {
    const token = content.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return [
      ...(lstrip ? [`\\p{White_Space}+(?=${token})`] : []),
      ...(rstrip ? [`(?<=${token})\\p{White_Space}+`] : []),
    ];
  });
  if (patterns.length === 0) return (text) => text;
  const spaces = new RegExp(patterns.join("|"), "gu");
  return (text) => text.replace(spaces, "");
}

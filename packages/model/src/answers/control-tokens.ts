// In this order: a control token that appears only because a later one was deleted stays, as in the reference.
const controlTokens = ["<s>", "</s>", "<pad>"];

/** A text without its control tokens. */
export interface Cleaned {
  text: string;
  /** The offset in the raw text of each character of the cleaned one. */
  offsets: number[];
}

/**
 * Deletes the control tokens. Unless `final`, an end that may yet become a control token is held back, so that the
 * result is a prefix of what any longer raw text gives.
 */
export function dropControlTokens(raw: string, final: boolean): Cleaned {
  let text = raw;
  let offsets = Array.from({ length: raw.length }, (_, i) => i);
  for (const token of controlTokens) {
    const kept: string[] = [];
    const keptOffsets: number[][] = [];
    let from = 0;
    const keepUntil = (end: number): void => {
      kept.push(text.slice(from, end));
      keptOffsets.push(offsets.slice(from, end));
    };
    for (let at = text.indexOf(token); at !== -1; at = text.indexOf(token, from)) {
      keepUntil(at);
      from = at + token.length;
    }
    const open = text.lastIndexOf("<");
    keepUntil(!final && open >= from && token.startsWith(text.slice(open)) ? open : text.length);
    text = kept.join("");
    offsets = keptOffsets.flat();
  }
  return { text, offsets };
}

// Python and JavaScript disagree about what a space is: Python counts the separators U+001C to U+001F and U+0085, JavaScript U+FEFF.
const space = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const leadingSpace = new RegExp(`^${space}+`);
const trailingSpace = new RegExp(`${space}+$`);

/** Python's str.lstrip. */
export function lstrip(text: string): string {
  return text.replace(leadingSpace, "");
}

/** Python's str.strip. */
export function strip(text: string): string {
  return lstrip(text).replace(trailingSpace, "");
}

/** The ASCII characters of a text; the others are dropped. */
export function asciiOnly(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are ASCII and stay.
  return text.replace(/[^\x00-\x7f]/g, "");
}

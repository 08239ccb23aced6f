// Byte-level BPE writes each byte as one printable character: printable Latin-1 stands for itself, the other 68 bytes for U+0100 onwards.
const byteOfCharacter = new Map<string, number>();
let substitute = 0x100;
for (let byte = 0; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  byteOfCharacter.set(String.fromCharCode(printable ? byte : substitute++), byte);
}

/** The bytes of a vocabulary entry. A character that stands for no byte counts as its own UTF-8. */
export function tokenBytes(entry: string): Uint8Array {
  const bytes = [...entry].flatMap(
    (character) => byteOfCharacter.get(character) ?? [...new TextEncoder().encode(character)],
  );
  return Uint8Array.from(bytes);
}

// A byte order mark is text like any other here.
const utf8 = () => new TextDecoder("utf-8", { ignoreBOM: true });

/** The text of all bytes together; what is not UTF-8 becomes U+FFFD. */
export function bytesToText(parts: readonly Uint8Array[]): string {
  return utf8().decode(Buffer.concat(parts));
}

/** Decodes bytes that come token by token. */
export class ByteStream {
  readonly #decoder = utf8();

  /**
   * Takes a token's bytes. `late` is what becomes of the tokens before it, where a character of theirs can no longer
   * be completed; `text` is what this token adds, empty while its character is incomplete.
   */
  push(bytes: Uint8Array): { late: string; text: string } {
    const first = bytes[0];
    if (first === undefined) return { late: "", text: "" };
    const continues = (first & 0xc0) === 0x80;
    return { late: continues ? "" : this.flush(), text: this.#decoder.decode(bytes, { stream: true }) };
  }

  /** Ends the text: an incomplete character becomes U+FFFD. */
  flush(): string {
    return this.#decoder.decode();
  }
}

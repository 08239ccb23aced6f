const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The six bits of each character, -1 for what is none; both alphabets.
const sixBits = new Int32Array(256).fill(-1);
for (const [bits, character] of [...alphabet].entries()) sixBits[character.charCodeAt(0)] = bits;
sixBits["-".charCodeAt(0)] = 62;
sixBits["_".charCodeAt(0)] = 63;

/**
 * Decodes base64 or base64url, padded or not. Returns undefined for anything else; a lenient decoder would skip
 * characters that it does not know and hand on an image that is broken in a puzzling way.
 */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const characters = text.endsWith("==") ? text.length - 2 : text.endsWith("=") ? text.length - 1 : text.length;
  if (characters % 4 === 1) return undefined;
  // Room for three more characters, which read as zero bits, so that the last group is as long as the others.
  const source = new Uint8Array(text.length + 3);
  new TextEncoder().encodeInto(text, source);
  source.fill(alphabet.charCodeAt(0), characters);
  const groups = Math.ceil(characters / 4);
  const bytes = new Uint8Array(groups * 3);
  let seen = 0;
  for (let group = 0, from = 0, to = 0; group < groups; group++, from += 4, to += 3) {
    const a = bitsAt(source, from);
    const b = bitsAt(source, from + 1);
    const c = bitsAt(source, from + 2);
    const d = bitsAt(source, from + 3);
    seen |= a | b | c | d; // Negative once one of them is: a test at each of 22 million characters would take longer.
    const bits = (a << 18) | (b << 12) | (c << 6) | d;
    bytes[to] = bits >> 16;
    bytes[to + 1] = bits >> 8;
    bytes[to + 2] = bits;
  }
  return seen < 0 ? undefined : bytes.subarray(0, Math.floor((characters * 3) / 4));
}

function bitsAt(source: Uint8Array, index: number): number {
  return sixBits[source[index] as number] as number;
}

/** Short values only: image ids. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const padding = -2;
const whiteSpace = -3;

// The six bits of each character in both alphabets, -1 for what is none of either.
const sixBits = new Int8Array(256).fill(-1);
for (const [bits, character] of [...alphabet].entries()) sixBits[character.charCodeAt(0)] = bits;
sixBits["-".charCodeAt(0)] = 62;
sixBits["_".charCodeAt(0)] = 63;
sixBits["=".charCodeAt(0)] = padding;
for (const space of "\n\r\t ") sixBits[space.charCodeAt(0)] = whiteSpace;

/**
 * Decodes base64 or base64url as it comes, padded or not, with white space or without, as mail breaks it. Whatever else is in it is refused; a lenient
 * decoder would skip characters that it does not know and hand on an image that is broken in a puzzling way.
 */
export class Base64Decoder {
  /** Characters of a group that is not complete, and their bits. */
  #count = 0;
  #bits = 0;
  #paddings = 0;

  /** The bytes that these characters complete; undefined where they are no base64. */
  push(characters: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
    const bytes = new Uint8Array(Math.ceil((this.#count + characters.length) / 4) * 3);
    let to = 0;
    for (let from = 0; from < characters.length; from++) {
      // Whole groups, which is nearly all there is.
      if (this.#count === 0 && this.#paddings === 0) {
        for (; from + 4 <= characters.length; from += 4, to += 3) {
          const a = bitsAt(characters, from);
          const b = bitsAt(characters, from + 1);
          const c = bitsAt(characters, from + 2);
          const d = bitsAt(characters, from + 3);
          if ((a | b | c | d) < 0) break;
          const bits = (a << 18) | (b << 12) | (c << 6) | d;
          bytes[to] = bits >> 16;
          bytes[to + 1] = bits >> 8;
          bytes[to + 2] = bits;
        }
        if (from === characters.length) break;
      }
      const bits = bitsAt(characters, from);
      if (bits === whiteSpace) continue;
      if (bits === padding) {
        if (++this.#paddings > 2) return undefined;
        continue;
      }
      if (bits < 0 || this.#paddings > 0) return undefined;
      this.#bits = (this.#bits << 6) | bits;
      if (++this.#count < 4) continue;
      bytes[to++] = this.#bits >> 16;
      bytes[to++] = this.#bits >> 8;
      bytes[to++] = this.#bits;
      this.#count = 0;
      this.#bits = 0;
    }
    return bytes.subarray(0, to);
  }

  /** The bytes of the last, shorter group; undefined where the text was cut off. */
  end(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#count === 1 || (this.#paddings > 0 && this.#count + this.#paddings !== 4)) return undefined;
    const bits = this.#bits << (6 * (4 - this.#count));
    return new Uint8Array([bits >> 16, bits >> 8]).subarray(0, Math.max(0, this.#count - 1));
  }
}

/** Decodes a short text as Base64Decoder does. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const decoder = new Base64Decoder();
  const head = decoder.push(new TextEncoder().encode(text));
  const tail = decoder.end();
  if (head === undefined || tail === undefined) return undefined;
  const bytes = new Uint8Array(head.length + tail.length);
  bytes.set(head);
  bytes.set(tail, head.length);
  return bytes;
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

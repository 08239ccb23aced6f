import { Fault } from "@florence/service";
import { Blocks } from "./blocks.ts";

/** Takes the characters of one long string, escapes resolved, as bytes. */
export interface TextSink {
  push(characters: Uint8Array): void;
  end(): void;
}

/** The string that is not to become one: `{"image": {"data": "…"}}` for ["image", "data"]. */
export interface LongText {
  readonly path: readonly [string, string];
  readonly sink: TextSink;
}

// Deeper than any call is, and flat enough for everything that walks it.
const depthMax = 16;
// 32 tasks of a thousand classes each; a body of nothing but values would block the loop where it is parsed.
const valuesMax = 40_000;
// The names that are looked for are shorter.
const keyBytesMax = 64;

const quote = 0x22;
const backslash = 0x5c;
const openObject = 0x7b;
const closeObject = 0x7d;
const openArray = 0x5b;
const closeArray = 0x5d;
const comma = 0x2c;
const colon = 0x3a;
const emptyString = new Uint8Array([quote, quote]);
// What a backslash can stand before, of the characters that base64 has.
const escapes = new Map([..."/nrt"].map((name, i) => [name.charCodeAt(0), "/\n\r\t".charCodeAt(i)]));

/**
 * Reads JSON as it comes, of a size and depth that can be parsed in one go, with the exception of one long string, which is handed on
 * piece by piece and reads as "". It only finds its way through the text: whether it is JSON, JSON.parse says at the end.
 */
export class JsonReader {
  readonly #rest = new Blocks();
  readonly #restBytesMax: number;
  readonly #tooLarge: (bytesMax: number) => Fault;
  readonly #long: LongText | undefined;
  /** For each open bracket, whether it is an object's. */
  readonly #objects: boolean[] = [];
  /** The last name at each of the first two depths, and those that may stand once. */
  readonly #names: (string | undefined)[] = [];
  readonly #seen = new Set<string>();
  #values = 0;
  #nameNext = false;
  #mode: "between" | "name" | "string" | "long" = "between";
  #name: number[] = [];
  #escaped = false;
  /** Hexadecimal digits to come of an escape, and their number so far. */
  #digits = 0;
  #code = 0;

  /** `restBytesMax` bounds what comes beside the long string; of more, `tooLarge` is thrown. */
  constructor(restBytesMax: number, tooLarge: (bytesMax: number) => Fault, long?: LongText) {
    this.#restBytesMax = restBytesMax;
    this.#tooLarge = tooLarge;
    this.#long = long;
  }

  /** Takes the next bytes; says how many of them it keeps. Throws `body_invalid`, what `tooLarge` makes, and what the sink throws. */
  write(chunk: Uint8Array): number {
    const before = this.#rest.length;
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#mode === "long") {
        at = this.#readLong(chunk, at);
        from = at;
        continue;
      }
      const byte = chunk[at] as number;
      at++;
      if (this.#mode !== "between") this.#readString(byte);
      else if (byte === quote && this.#beginString()) {
        this.#keep(chunk.subarray(from, at - 1));
        this.#keep(emptyString);
      } else this.#readBetween(byte);
    }
    if (this.#mode !== "long") this.#keep(chunk.subarray(from));
    return this.#rest.length - before;
  }

  /** What was read. Throws `body_invalid`, naming `place`, where it is not JSON. */
  end(place: string): unknown {
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(this.#rest.concatenated()));
    } catch {
      // Without the parser's error as its cause: that one quotes the body, and prompts do not belong into logs.
      throw invalid(`${place}: this is not JSON.`);
    }
  }

  #keep(bytes: Uint8Array): void {
    if (this.#rest.length + bytes.length > this.#restBytesMax) throw this.#tooLarge(this.#restBytesMax);
    this.#rest.append(bytes);
  }

  #readBetween(byte: number): void {
    if (byte === openObject || byte === openArray) {
      this.#objects.push(byte === openObject);
      this.#nameNext = byte === openObject;
      if (this.#objects.length > depthMax) throw invalid(`body: nested deeper than ${depthMax}.`);
      this.#countValue();
    } else if (byte === closeObject || byte === closeArray) {
      this.#objects.pop();
      this.#nameNext = false;
    } else if (byte === comma) {
      this.#nameNext = this.#objects.at(-1) === true;
      this.#countValue();
    } else if (byte === colon) {
      this.#nameNext = false;
    }
  }

  #countValue(): void {
    if (++this.#values > valuesMax) throw invalid(`body: more than ${valuesMax} values.`);
  }

  /** A string begins; whether it is the long one. */
  #beginString(): boolean {
    const { length: depth } = this.#objects;
    if (this.#nameNext) {
      this.#nameNext = false;
      this.#mode = depth <= 2 ? "name" : "string";
      this.#name = [];
      return false;
    }
    const [outer, inner] = this.#long?.path ?? [];
    const isLong = depth === 2 && outer !== undefined && this.#names[0] === outer && this.#names[1] === inner;
    this.#mode = isLong && this.#objects[0] === true && this.#objects[1] === true ? "long" : "string";
    return this.#mode === "long";
  }

  #readString(byte: number): void {
    if (this.#escaped) this.#escaped = false;
    else if (byte === backslash) this.#escaped = true;
    else if (byte === quote) {
      if (this.#mode === "name") this.#endName();
      this.#mode = "between";
      return;
    }
    if (this.#mode === "name" && this.#name.length < keyBytesMax) this.#name.push(byte);
  }

  #endName(): void {
    const { length: depth } = this.#objects;
    const name = nameOf(this.#name);
    this.#names[depth - 1] = name;
    this.#names.length = depth;
    const [outer, inner] = this.#long?.path ?? [];
    const once = depth === 1 ? name === outer : this.#names[0] === outer && name === inner;
    if (outer === undefined || !once) return;
    const place = this.#names.join(".");
    // The second would take the place of the first, whose image has been read.
    if (this.#seen.has(place)) throw invalid(`${place}: given twice.`);
    this.#seen.add(place);
  }

  /** Hands on the long string up to its end, or the chunk's; says where to go on. */
  #readLong(chunk: Uint8Array, from: number): number {
    const sink = (this.#long as LongText).sink;
    const end = chunk.indexOf(quote, from);
    const part = chunk.subarray(from, end < 0 ? chunk.length : end);
    if (!this.#escaped && this.#digits === 0 && !part.includes(backslash)) {
      sink.push(part);
      if (end < 0) return chunk.length;
      this.#mode = "between";
      sink.end();
      return end + 1;
    }
    const plain = new Uint8Array(chunk.length - from);
    let length = 0;
    let at = from;
    for (; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (this.#digits > 0) {
        this.#code = this.#code * 16 + hexOf(byte);
        if (--this.#digits === 0) plain[length++] = this.#code < 128 ? this.#code : 0;
      } else if (this.#escaped) {
        this.#escaped = false;
        if (byte === 0x75) [this.#digits, this.#code] = [4, 0];
        else plain[length++] = escapes.get(byte) ?? 0; // A zero is no base64, which is then said.
      } else if (byte === backslash) this.#escaped = true;
      else if (byte === quote) break;
      else plain[length++] = byte;
    }
    sink.push(plain.subarray(0, length));
    if (at === chunk.length) return at;
    this.#mode = "between";
    sink.end();
    return at + 1;
  }
}

/** Parses a short text of JSON, within the same bounds. Throws `body_invalid`, naming `place`. */
export function parseJson(text: Uint8Array, place: string): unknown {
  const reader = new JsonReader(text.length, () => invalid(`${place}: this is too long.`));
  reader.write(text);
  return reader.end(place);
}

/** A name as it reads; one that was cut short is none that is looked for. */
function nameOf(bytes: readonly number[]): string | undefined {
  if (bytes.length >= keyBytesMax) return undefined;
  const text = String.fromCharCode(...bytes);
  if (!text.includes("\\")) return text;
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return undefined;
  }
}

/** A digit's value; of anything else one that makes the whole no base64. */
function hexOf(byte: number): number {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? 0x10000 : value;
}

function invalid(detail: string): Fault {
  return new Fault("body_invalid", detail);
}

import { Tokenizer as BpeTokenizer } from "@huggingface/tokenizers";
import { ModelError } from "../errors.ts";
import { locationBins, locationToken } from "../text/locations.ts";
import { ByteStream, bytesToText, tokenBytes } from "./byte-level.ts";
import { nextId, readTokenizerFiles } from "./files.ts";
import { trimBeside, withReferenceSpaces } from "./spaces.ts";

/** A decoded text and each token's place in it. */
export interface Pieces {
  text: string;
  /** UTF-16 offset where each token's text begins. */
  starts: Int32Array; // [tokens]
  /** UTF-16 offset where it ends. A character spelled by several tokens belongs to the last of them. */
  ends: Int32Array; // [tokens]
}

/** Text to ids and back, for one checkpoint. */
export class Tokenizer {
  /** The id of <loc_0>; the other 999 locations follow it. */
  readonly locationBase: number;
  /** One past the last known id. */
  readonly size: number;
  readonly #bpe: BpeTokenizer;
  readonly #trimmed: (text: string) => string;
  readonly #added: Set<number>;

  private constructor(bpe: BpeTokenizer, size: number, trimmed: (text: string) => string) {
    this.#bpe = bpe;
    this.#trimmed = trimmed;
    this.size = size;
    this.#added = new Set(bpe.get_added_tokens_decoder().keys());
    this.locationBase = bpe.token_to_id(locationToken(0)) ?? -1;
    for (let bin = 0; bin < locationBins; bin++)
      if (bpe.token_to_id(locationToken(bin)) !== this.locationBase + bin)
        throw new ModelError(
          "checkpoint_config_invalid",
          "The tokenizer's location tokens do not have consecutive ids.",
        );
  }

  /** Reads the tokenizer of a checkpoint folder. Throws checkpoint_file_missing or checkpoint_config_invalid. */
  static async load(folder: string): Promise<Tokenizer> {
    const { tokenizer, config } = readTokenizerFiles(folder);
    try {
      const bpe = new BpeTokenizer(withReferenceSpaces(tokenizer), config);
      return new Tokenizer(bpe, nextId(tokenizer), trimBeside(tokenizer));
    } catch (cause) {
      if (cause instanceof ModelError) throw cause;
      throw new ModelError("checkpoint_config_invalid", "The checkpoint's tokenizer cannot be read.", { cause });
    }
  }

  /** The ids of a text between <s> and </s>. Tokens written out in the text become those tokens. */
  encode(text: string): number[] {
    return this.#bpe.encode(this.#trimmed(text)).ids;
  }

  /** The text of ids, special tokens included. Ids without a token add nothing. */
  decode(ids: readonly number[]): string {
    return bytesToText(ids.map((id) => this.#bytes(id)));
  }

  /** The text of ids, as decode gives it, and where each token's part of it lies. */
  pieces(ids: readonly number[]): Pieces {
    const starts = new Int32Array(ids.length);
    const ends = new Int32Array(ids.length);
    const stream = new ByteStream();
    let text = "";
    for (const [i, id] of ids.entries()) {
      const added = stream.push(this.#bytes(id));
      text += added.late;
      if (i > 0) ends[i - 1] = text.length;
      starts[i] = text.length;
      text += added.text;
      ends[i] = text.length;
    }
    text += stream.flush();
    if (ids.length > 0) ends[ids.length - 1] = text.length;
    return { text, starts, ends };
  }

  /** A decoder for ids that come one by one. */
  stream(): TextStream {
    return new TextStream((id) => this.#bytes(id));
  }

  /** Whether an id is one of <loc_0> to <loc_999>. */
  isLocation(id: number): boolean {
    return id >= this.locationBase && id < this.locationBase + locationBins;
  }

  /** Whether a token is an added one, such as <od>, rather than a piece of text. */
  isAdded(id: number): boolean {
    return this.#added.has(id);
  }

  /** The id of a token's content, such as <image>; undefined where the checkpoint has none. */
  tokenId(content: string): number | undefined {
    return this.#bpe.token_to_id(content);
  }

  #bytes(id: number): Uint8Array {
    const entry = this.#bpe.id_to_token(id);
    if (entry === undefined) return new Uint8Array();
    return this.#added.has(id) ? new TextEncoder().encode(entry) : tokenBytes(entry);
  }
}

/** Text that grows token by token. All that it returns, joined, equals the decoded text. */
export class TextStream {
  readonly #bytes: (id: number) => Uint8Array;
  readonly #stream = new ByteStream();

  constructor(bytes: (id: number) => Uint8Array) {
    this.#bytes = bytes;
  }

  /** The text that a token adds; empty while a character spelled by several tokens is incomplete. */
  push(id: number): string {
    const { late, text } = this.#stream.push(this.#bytes(id));
    return late + text;
  }

  /** Ends the text: returns U+FFFD for a character left incomplete. */
  flush(): string {
    return this.#stream.flush();
  }
}

import { Fault } from "@florence/service";
import { Base64Decoder } from "../http/base64.ts";
import { Blocks } from "../http/blocks.ts";
import { imageTooLarge } from "../http/body.ts";
import type { HeldBytesAccount } from "../http/held-bytes.ts";
import type { TextSink } from "../http/json-reader.ts";

const scheme = "data:";
// "data:image/png;base64," and a few parameters.
const headCharactersMax = 256;

/**
 * `image.data` as it comes: base64, or a data: URL with base64 in it, to bytes. Throws `body_invalid`, `image_too_large` and what the
 * account throws.
 */
export class ImageData implements TextSink {
  readonly #bytesMax: number;
  readonly #account: HeldBytesAccount;
  readonly #decoder = new Base64Decoder();
  readonly #blocks = new Blocks();
  /** What came first, until it is known whether it is a data: URL's head. */
  #head: string | undefined = "";

  constructor(bytesMax: number, account: HeldBytesAccount) {
    this.#bytesMax = bytesMax;
    this.#account = account;
  }

  push(characters: Uint8Array): void {
    this.#decode(this.#head === undefined ? characters : this.#withoutHead(characters));
  }

  end(): void {
    if (this.#head?.startsWith(scheme)) throw notBase64Url();
    if (this.#head !== undefined) this.#decode(new TextEncoder().encode(this.#head));
    this.#keep(this.#decoder.end());
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#blocks.concatenated();
  }

  #withoutHead(characters: Uint8Array): Uint8Array {
    const before = this.#head ?? "";
    const head = before + String.fromCharCode(...characters.subarray(0, headCharactersMax));
    if (head.length < scheme.length) {
      this.#head = head;
      return new Uint8Array(0);
    }
    if (!head.startsWith(scheme)) {
      this.#head = undefined;
      this.#decode(new TextEncoder().encode(before));
      return characters;
    }
    const end = head.indexOf(",");
    if (end < 0 && head.length < headCharactersMax) {
      this.#head = head;
      return new Uint8Array(0);
    }
    if (end < 0 || !head.slice(0, end).endsWith(";base64")) throw notBase64Url();
    this.#head = undefined;
    return characters.subarray(end + 1 - before.length);
  }

  #decode(characters: Uint8Array): void {
    this.#keep(this.#decoder.push(characters));
  }

  #keep(bytes: Uint8Array | undefined): void {
    if (bytes === undefined) throw new Fault("body_invalid", "image.data: this is not base64.");
    if (this.#blocks.length + bytes.length > this.#bytesMax) throw imageTooLarge(this.#bytesMax);
    this.#account.take(bytes.length);
    this.#blocks.append(bytes);
  }
}

function notBase64Url(): Fault {
  return new Fault("body_invalid", "image.data: a data: URL must hold base64.");
}

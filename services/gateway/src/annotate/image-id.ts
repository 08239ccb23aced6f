import { Fault } from "@florence/service";
import { decodeBase64, encodeBase64Url } from "../http/base64.ts";

/** What is needed to ask about an image that has been encoded, without its bytes. */
export interface ImageHandle {
  /** The embedding's key. */
  readonly key: string;
  /** host:port of the encoder that holds the embedding. */
  readonly holder: string;
  /** Size in pixels that coordinates refer to. */
  readonly width: number;
  readonly height: number;
  /** Unix milliseconds; 0 where the encoder promises nothing. */
  readonly expiresAtMs: number;
}

const version = 1;
// 16 bytes of HMAC-SHA-256: forging one id takes about 2^127 tries.
const macBytes = 16;
// A key of 200 and a holder of 255 characters fit with room; anything longer is not ours.
const idCharactersMax = 2048;

/**
 * Seals an image's handle into an opaque id and opens it again. The seal keeps a caller from naming another tenant's
 * embedding, or an address of their choice as its holder. Gateways that share a secret accept each other's ids.
 */
export class ImageIds {
  readonly #key: ReturnType<typeof importKey>;
  readonly #now: () => number;

  /** `secret`: at least 16 bytes. `now`: Unix milliseconds. */
  constructor(secret: Uint8Array<ArrayBuffer>, now: () => number = Date.now) {
    if (secret.length < 16) throw new RangeError("The id secret must have at least 16 bytes.");
    this.#key = importKey(secret);
    this.#now = now;
  }

  async seal(image: ImageHandle): Promise<string> {
    const { key, holder, width, height, expiresAtMs } = image;
    const payload = new TextEncoder().encode(JSON.stringify([version, key, holder, width, height, expiresAtMs]));
    const sealed = new Uint8Array(macBytes + payload.length);
    sealed.set(await this.#mac(payload));
    sealed.set(payload, macBytes);
    return encodeBase64Url(sealed);
  }

  /**
   * Throws `embedding_evicted` for an id that has expired or was sealed with another secret: in both cases the
   * caller's way out is to send the image again. Throws `body_invalid` for what was never an id.
   */
  async open(id: string): Promise<ImageHandle> {
    const sealed = id.length <= idCharactersMax ? decodeBase64(id) : undefined;
    if (sealed === undefined || sealed.length <= macBytes)
      throw new Fault("body_invalid", "image.id: this is not an id that the server gave out.");
    const payload = sealed.slice(macBytes);
    if (!(await this.#verified(sealed.slice(0, macBytes), payload))) throw evicted();
    const [, key, holder, width, height, expiresAtMs] = JSON.parse(new TextDecoder().decode(payload)) as [
      number,
      string,
      string,
      number,
      number,
      number,
    ];
    if (expiresAtMs !== 0 && expiresAtMs <= this.#now()) throw evicted();
    return { key, holder, width, height, expiresAtMs };
  }

  async #verified(mac: Uint8Array, payload: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const expected = await this.#mac(payload);
    // Every byte is looked at, so the time taken says nothing about where the first difference is.
    let difference = 0;
    for (let i = 0; i < macBytes; i++) difference |= (mac[i] ?? 0) ^ (expected[i] ?? 0);
    return difference === 0;
  }

  async #mac(payload: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    return new Uint8Array(await crypto.subtle.sign("HMAC", await this.#key, payload), 0, macBytes);
  }
}

function importKey(secret: Uint8Array<ArrayBuffer>) {
  return crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

/** The answer for an image that was known once. */
function evicted(): Fault {
  return new Fault("embedding_evicted", "The image is no longer stored. Send the image again.");
}

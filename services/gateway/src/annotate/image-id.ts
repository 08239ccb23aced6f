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

// Ids of other versions were sealed by another release, and end like those of another secret.
const version = 2;
// What AES-GCM takes.
const ivBytes = 12;
// A key of 200 and a holder of 255 characters fit with room; anything longer is not ours.
const idCharactersMax = 2048;

/**
 * Seals an image's handle into an opaque id and opens it again. Nobody without the secret can read what is in it, nor name another
 * tenant's embedding or an address of their choice as its holder. Gateways that share a secret accept each other's ids.
 */
export class ImageIds {
  readonly #keys: Promise<Keys>;
  readonly #now: () => number;

  /** `secret`: at least 16 bytes. `now`: Unix milliseconds. */
  constructor(secret: Uint8Array<ArrayBuffer>, now: () => number = Date.now) {
    if (secret.length < 16) throw new RangeError("The id secret must have at least 16 bytes.");
    this.#keys = deriveKeys(secret);
    this.#now = now;
  }

  async seal(image: ImageHandle): Promise<string> {
    const { key, holder, width, height, expiresAtMs } = image;
    const payload = new TextEncoder().encode(JSON.stringify([key, holder, width, height, expiresAtMs]));
    const { sealing, naming } = await this.#keys;
    // Follows from what is sealed, so that an image keeps its id: no two handles meet in 2^48 of them.
    const iv = new Uint8Array(await crypto.subtle.sign("HMAC", naming, payload), 0, ivBytes);
    const sealed = new Uint8Array(await crypto.subtle.encrypt(algorithm(iv), sealing, payload));
    const id = new Uint8Array(1 + ivBytes + sealed.length);
    id[0] = version;
    id.set(iv, 1);
    id.set(sealed, 1 + ivBytes);
    return encodeBase64Url(id);
  }

  /**
   * Throws `embedding_evicted` for an id that has expired or was sealed with another secret: in both cases the
   * caller's way out is to send the image again. Throws `body_invalid` for what was never an id.
   */
  async open(id: string): Promise<ImageHandle> {
    const bytes = id.length <= idCharactersMax ? decodeBase64(id) : undefined;
    if (bytes === undefined || bytes.length <= 1 + ivBytes)
      throw new Fault("body_invalid", "image.id: this is not an id that the server gave out.");
    if (bytes[0] !== version) throw evicted();
    const iv = bytes.slice(1, 1 + ivBytes);
    const payload = await crypto.subtle
      .decrypt(algorithm(iv), (await this.#keys).sealing, bytes.slice(1 + ivBytes))
      .catch((cause: unknown) => {
        throw evicted(cause);
      });
    const [key, holder, width, height, expiresAtMs] = JSON.parse(new TextDecoder().decode(payload)) as [
      string,
      string,
      number,
      number,
      number,
    ];
    if (expiresAtMs !== 0 && expiresAtMs <= this.#now()) throw evicted();
    return { key, holder, width, height, expiresAtMs };
  }
}

type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

interface Keys {
  readonly sealing: CryptoKey;
  readonly naming: CryptoKey;
}

/** Keys for these purposes alone: the secret may have any length, and serve for something else one day. */
async function deriveKeys(secret: Uint8Array<ArrayBuffer>): Promise<Keys> {
  const raw = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveKey"]);
  const hkdf = (purpose: string) => {
    const info = new TextEncoder().encode(`florence image id ${purpose}`);
    return { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
  };
  const aes = { name: "AES-GCM", length: 256 };
  const hmac = { name: "HMAC", hash: "SHA-256", length: 256 };
  return {
    sealing: await crypto.subtle.deriveKey(hkdf("sealing"), raw, aes, false, ["encrypt", "decrypt"]),
    naming: await crypto.subtle.deriveKey(hkdf("naming"), raw, hmac, false, ["sign"]),
  };
}

function algorithm(iv: Uint8Array<ArrayBuffer>) {
  // The version is part of what is verified.
  return { name: "AES-GCM", iv, additionalData: new Uint8Array([version]) };
}

/** The answer for an image that was known once. */
function evicted(cause?: unknown): Fault {
  return new Fault("embedding_evicted", "The image is no longer stored. Send the image again.", { cause });
}

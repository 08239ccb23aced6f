import { createHmac, createSecretKey, hkdfSync, type KeyObject, timingSafeEqual } from "node:crypto";
import type { Secret } from "@florence/service";

/** What a seal is for: one made for a value of one kind says nothing about another kind. */
export type SealedKind = "embedding" | "alias" | "lease" | "holder";

/** Length of a seal in bytes: HMAC-SHA-256. */
export const sealBytes = 32;

/**
 * Proves that whoever wrote something knows the cluster's secret, and that it was written under this very name. Without a secret the key is
 * known to everybody: then a seal notices damage and mix-ups, and no malice.
 */
export class Seal {
  readonly #key: KeyObject;

  constructor(secret?: Secret) {
    // A key of its own, so that nothing which is sealed here passes for a proof elsewhere.
    const key = hkdfSync("sha256", secret?.reveal() ?? "", "", "florence seals 1", sealBytes);
    this.#key = createSecretKey(Buffer.from(key));
  }

  /** The seal of some bytes under a name. */
  of(kind: SealedKind, name: string, ...parts: readonly (Uint8Array | string)[]): Buffer {
    // Neither kinds nor names hold a zero, so no two of them make the same bytes.
    const hmac = createHmac("sha256", this.#key).update(`${kind}\0${name}\0`);
    for (const part of parts) hmac.update(part);
    return hmac.digest();
  }

  /** Whether a seal is the one of these bytes, in a time that says nothing about where it differs. */
  verifies(seal: Uint8Array, kind: SealedKind, name: string, ...parts: readonly (Uint8Array | string)[]): boolean {
    return seal.byteLength === sealBytes && timingSafeEqual(seal, this.of(kind, name, ...parts));
  }

  /** A text with its seal, for stores of text: 43 characters, a line break, the text. */
  sealText(kind: SealedKind, name: string, text: string): string {
    return `${this.of(kind, name, text).toString("base64url")}\n${text}`;
  }

  /** The text of what sealText made under this name; undefined for everything else. */
  openText(kind: SealedKind, name: string, sealed: Uint8Array): string | undefined {
    const all = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength).toString();
    const end = all.indexOf("\n");
    if (end < 0) return undefined;
    const text = all.slice(end + 1);
    return this.verifies(Buffer.from(all.slice(0, end), "base64url"), kind, name, text) ? text : undefined;
  }
}

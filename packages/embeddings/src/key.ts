import { createHash } from "node:crypto";

/** How an embedding's numbers are stored. */
export type EmbeddingDtype = "f32" | "f16";

/** Everything that changes an embedding's value. Two images with equal parts have equal embeddings. */
export interface KeyParts {
  /** sha-256 of the checkpoint's weights, hex. */
  weightsDigest: string;
  /** Version of decoding, resizing and normalisation: A-Z, a-z, 0-9, - and _. */
  preprocess: string;
  dtype: EmbeddingDtype;
  /** sha-256 of the decoded, upright RGB pixels and their size, hex. */
  pixelsSha256: string;
  /** Keeps one tenant from learning what another has sent; empty or absent for none. */
  tenant?: string | undefined;
}

/** Longest key that can come out: digest, preprocess version, dtype, pixels and salt, with their dots. */
export const embeddingKeyCharactersMax = 16 + 1 + 32 + 1 + 3 + 1 + 64 + 1 + 32;

const keyPattern = /^[0-9a-f]{16}\.[A-Za-z0-9_-]{1,32}\.(?:f32|f16)\.[0-9a-f]{64}(?:\.[0-9a-f]{32})?$/;

/**
 * `<weights digest, 16 digits>.<preprocess>.<dtype>.<pixels sha-256>[.<tenant salt>]`. Its characters are safe as a NATS
 * key and as a file name. Throws a RangeError when a part does not have its form.
 */
export function embeddingKey({ weightsDigest, preprocess, dtype, pixelsSha256, tenant }: KeyParts): string {
  const parts = [preprocess, dtype, pixelsSha256];
  if (tenant) parts.push(tenantSalt(tenant));
  const key = `${embeddingKeyPrefix(weightsDigest)}${parts.join(".")}`;
  if (!isEmbeddingKey(key)) throw new RangeError(`These parts make no embedding key: ${JSON.stringify(key)}.`);
  return key;
}

/** How every key of a checkpoint begins. */
export function embeddingKeyPrefix(weightsDigest: string): string {
  return `${weightsDigest.slice(0, 16)}.`;
}

/** Tells whether a text, such as one that came over the network, has the form of an embedding key. */
export function isEmbeddingKey(text: string): boolean {
  return keyPattern.test(text);
}

/** How the embedding of a key is stored; undefined for what is no embedding key. */
export function embeddingKeyDtype(key: string): EmbeddingDtype | undefined {
  return isEmbeddingKey(key) ? (key.split(".")[2] as EmbeddingDtype) : undefined;
}

/** 128 bits of a digest: a tenant's name appears in no key, and names do not collide. */
export function tenantSalt(tenant: string): string {
  return createHash("sha256").update("florence tenant\0").update(tenant).digest("hex").slice(0, 32);
}

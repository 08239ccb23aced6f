/**
 * Decodes base64 or base64url, padded or not. Returns undefined for anything else; a lenient decoder would skip
 * characters that it does not know and hand on an image that is broken in a puzzling way.
 */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const characters = text.endsWith("==") ? text.length - 2 : text.endsWith("=") ? text.length - 1 : text.length;
  if (characters % 4 === 1) return undefined;
  const bytes = Buffer.from(text, "base64");
  // Skipped characters show in the length, which saves a second walk over up to 22 million of them.
  return bytes.length === Math.floor((characters * 3) / 4) ? bytes : undefined;
}

export function encodeBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

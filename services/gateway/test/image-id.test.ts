import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { ImageIds } from "../src/annotate/image-id.ts";

const secret = new Uint8Array(32).fill(7);
const image = { key: "digest.1.f16.abc", holder: "10.0.0.1:50051", width: 640, height: 480, expiresAtMs: 2000 };
const evicted = expect.objectContaining({ code: "embedding_evicted" });

test("an id opens to what was sealed, at every gateway with the same secret", async () => {
  const id = await new ImageIds(secret, () => 1000).seal(image);
  expect(id).toMatch(/^[\w-]+$/);
  expect(await new ImageIds(secret, () => 1999).open(id)).toEqual(image);
});

test("an id has ended when its time is over, unless it has none", async () => {
  const id = await new ImageIds(secret, () => 1000).seal(image);
  await expect(new ImageIds(secret, () => 2000).open(id)).rejects.toEqual(evicted);
  const unlimited = { ...image, expiresAtMs: 0 };
  const ids = new ImageIds(secret);
  expect(await ids.open(await ids.seal(unlimited))).toEqual(unlimited);
});

test("an id of another secret, or with any bit changed, does not open", async () => {
  const ids = new ImageIds(secret, () => 1000);
  const id = await ids.seal(image);
  await expect(new ImageIds(new Uint8Array(32).fill(8), () => 1000).open(id)).rejects.toEqual(evicted);
  const bytes = Buffer.from(id, "base64url");
  for (let i = 0; i < bytes.length; i++) {
    const forged = Buffer.from(bytes);
    forged[i] = (forged[i] ?? 0) ^ 1;
    await expect(ids.open(forged.toString("base64url"))).rejects.toEqual(evicted);
  }
});

test("what was never an id is a mistake of the caller", async () => {
  const ids = new ImageIds(secret);
  for (const text of ["", "x", "no id!", "A".repeat(3000)]) {
    await expect(ids.open(text)).rejects.toEqual(expect.objectContaining({ code: "body_invalid" }));
  }
});

test("a secret too short to seal with is refused", () => {
  expect(() => new ImageIds(new Uint8Array(15))).toThrow(RangeError);
});

test("an image keeps its id, and nothing of it can be read without the secret", async () => {
  const ids = new ImageIds(secret, () => 1000);
  const id = await ids.seal(image);
  expect(await ids.seal(image)).toBe(id);
  const read = Buffer.from(id, "base64url").toString("latin1");
  for (const part of ["digest", "abc", "10.0", "50051", "640", "2000"]) expect(read).not.toContain(part);
});

test("an id of an earlier release, signed and readable, ends like one of another secret", async () => {
  const payload = Buffer.from(JSON.stringify([1, ...Object.values(image)]));
  const old = Buffer.concat([createHmac("sha256", secret).update(payload).digest().subarray(0, 16), payload]);
  await expect(new ImageIds(secret, () => 1000).open(old.toString("base64url"))).rejects.toEqual(evicted);
});

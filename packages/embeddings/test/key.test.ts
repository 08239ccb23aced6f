import { expect, test } from "vitest";
import { aliasName, embeddingKey, embeddingKeyCharactersMax, isEmbeddingKey, type KeyParts } from "../src/index.ts";

const parts: KeyParts = {
  weightsDigest: "0123456789abcdef".repeat(4),
  preprocess: "bicubic-1",
  dtype: "f32",
  pixelsSha256: "fedcba9876543210".repeat(4),
};

test("a key has the documented form and only characters that NATS takes", () => {
  expect(embeddingKey(parts)).toBe(`0123456789abcdef.bicubic-1.f32.${parts.pixelsSha256}`);
  const salted = embeddingKey({ ...parts, tenant: "Müller & Söhne: * > ." });
  expect(salted).toMatch(/^[A-Za-z0-9\-_/=.]+$/);
  expect(salted).toMatch(/[^.]$/);
});

test("every part changes the key, and a tenant's name does not show in it", () => {
  const keys = [
    parts,
    { ...parts, weightsDigest: "f".repeat(64) },
    { ...parts, preprocess: "bicubic-2" },
    { ...parts, dtype: "f16" as const },
    { ...parts, pixelsSha256: "0".repeat(64) },
    { ...parts, tenant: "acme" },
    { ...parts, tenant: "acme2" },
  ].map(embeddingKey);
  expect(new Set(keys).size).toBe(keys.length);
  expect(keys.join()).not.toContain("acme");
  expect(embeddingKey({ ...parts, tenant: "" })).toBe(embeddingKey(parts));
});

test("malformed parts make no key", () => {
  for (const wrong of [
    { weightsDigest: "abc" },
    { weightsDigest: "X".repeat(64) },
    { preprocess: "" },
    { preprocess: "a.b" },
    { preprocess: "a".repeat(33) },
    { pixelsSha256: "abc" },
    { pixelsSha256: `sha256:${"0".repeat(64)}` },
  ]) {
    expect(() => embeddingKey({ ...parts, ...wrong })).toThrow(RangeError);
  }
});

test("a key from outside is recognised by its form alone", () => {
  const longest = embeddingKey({ ...parts, preprocess: "p".repeat(32), tenant: "t" });
  expect(longest.length).toBe(embeddingKeyCharactersMax);
  expect(isEmbeddingKey(longest)).toBe(true);
  for (const wrong of ["", `${longest}.`, `${longest}\n`, `../${longest}`, longest.toUpperCase(), "a.b.f32.c"]) {
    expect(isEmbeddingKey(wrong)).toBe(false);
  }
});

test("a file's alias depends on its orientation handling, its background and its tenant", () => {
  const file = { fileSha256: "a".repeat(64), ignoreOrientation: false };
  const own = [{}, { background: [0, 0, 0] }, { background: [0, 0, 1] }, { background: [1, 0, 0] }] as const;
  const names = own.flatMap((colour) =>
    [{}, { ignoreOrientation: true }, { tenant: "acme" }].map((rest) => aliasName({ ...file, ...colour, ...rest })),
  );
  expect(new Set(names).size).toBe(12);
  for (const name of names) expect(name).toMatch(/^[-.0-9a-z]+$/);
});

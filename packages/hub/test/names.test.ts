import { describe, expect, test } from "vitest";
import { neededFiles } from "../src/files.ts";
import { parseModelName, requireModelName } from "../src/name.ts";

describe("a name on a hub", () => {
  test.each([
    ["owner/name", "owner/name", "main"],
    ["owner/Some-Model_2.1@v1.0", "owner/Some-Model_2.1", "v1.0"],
    ["owner/name@refs/pr/3", "owner/name", "refs/pr/3"],
    ["base", "florence-community/Florence-2-base", "main"],
    ["large-ft@abc123", "florence-community/Florence-2-large-ft", "abc123"],
  ])("is read from %s", (text, repository, revision) => {
    expect(parseModelName(text)).toEqual({ repository, revision });
  });

  test.each([
    "",
    "huge",
    "./owner/name",
    "/owner/name",
    "../name",
    "owner/..",
    "owner/name/more",
    "own--er/name",
    "owner\\name",
    "owner/name@",
    "owner/name@../../x",
    "owner/name@/x",
    "constructor",
  ])("is not read from %j, which might lead out of the cache", (text) => {
    expect(parseModelName(text)).toBeUndefined();
    expect(() => requireModelName(text)).toThrow(expect.objectContaining({ code: "hub_name_invalid" }));
  });
});

describe("of a repository's files", () => {
  const small = ["config.json", "tokenizer.json"];

  test("one whole file of weights is taken, and nothing that says the same", () => {
    const others = ["README.md", "pytorch_model.bin", "model-00001-of-00002.safetensors", "onnx/model.onnx", "x.py"];
    expect(neededFiles([...others, "model.safetensors.index.json", "model.safetensors", ...small])).toEqual([
      ...small,
      "model.safetensors",
    ]);
  });

  test("shards are taken with their index", () => {
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    const all = [...shards, "model.safetensors.index.json"];
    expect(neededFiles(["pytorch_model.bin", ...all, ...small])).toEqual([...small, ...all]);
  });

  test("pickles are taken only where there is nothing else", () => {
    expect(neededFiles(["pytorch_model.bin", ...small])).toEqual([...small, "pytorch_model.bin"]);
    const shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"];
    expect(neededFiles([...shards, ...small])).toEqual([...small, ...shards]);
  });

  test("none is taken where weights or config are missing", () => {
    expect(neededFiles(small)).toEqual([]);
    expect(neededFiles(["model.safetensors"])).toEqual([]);
  });
});

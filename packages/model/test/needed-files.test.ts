import { describe, expect, test } from "vitest";
import { neededFiles } from "../src/checkpoint/index.ts";

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

  test("settings, an adapter beside the weights and a fine-tune's tasks are taken, and nothing that is never read", () => {
    const own = ["adapter_config.json", "adapter_model.safetensors"];
    const names = ["special_tokens_map.json", "tasks.json", "adapter_model.bin", ...own, ...small, "model.safetensors"];
    expect(neededFiles(names)).toEqual(["tasks.json", ...small, ...own, "model.safetensors"]);
    expect(neededFiles(["adapter_model.bin", "adapter_config.json", ...small, "model.safetensors"])).toEqual([
      ...small,
      "adapter_config.json",
      "adapter_model.bin",
      "model.safetensors",
    ]);
    for (const alone of own) expect(neededFiles([alone, ...small, "model.safetensors"])).not.toContain(alone);
    expect(neededFiles(own)).toEqual([]);
  });
});

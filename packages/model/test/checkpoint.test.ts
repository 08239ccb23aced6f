import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readFloat32 } from "../src/checkpoint/convert.ts";
import { embeddingName, headName, projectionName } from "../src/checkpoint/names.ts";
import { ModelError, openCheckpoint } from "../src/index.ts";
import { fixtures, root, temporaryFolder } from "./model-fixture.ts";

/** A copy of a fixture's checkpoint that may be damaged. */
function copy(fixture: string) {
  const folder = temporaryFolder();
  cpSync(join(fixtures, fixture), folder.path, { recursive: true });
  return folder;
}

function refusal(folder: string): ModelError {
  try {
    openCheckpoint(folder);
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
  throw new Error("the checkpoint was accepted");
}

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/** Rewrites the header of a safetensors file; the data stays where it is. */
function editHeader(file: string, edit: (header: Header) => void): void {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  const header: Header = JSON.parse(bytes.subarray(8, 8 + length).toString());
  edit(header);
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([head, json, bytes.subarray(8 + length)]));
}

describe("a checkpoint that cannot be used is refused with its own code, naming what is wrong", () => {
  test("no such folder", () => expect(refusal(join(fixtures, "nowhere")).code).toBe("checkpoint_file_missing"));

  test.each(["model.safetensors", "config.json", "tokenizer.json"])("%s missing", (file) => {
    using folder = copy("odd-windows/native");
    rmSync(join(folder.path, file));
    expect(refusal(folder.path)).toMatchObject({
      code: "checkpoint_file_missing",
      message: expect.stringContaining(file),
    });
  });

  test("a shard missing", () => {
    using folder = copy("even-windows/native");
    rmSync(join(folder.path, "model-00002-of-00002.safetensors"));
    expect(refusal(folder.path)).toMatchObject({
      code: "checkpoint_file_missing",
      message: expect.stringContaining("model-00002-of-00002"),
    });
  });

  test("a file cut short, in its data and in its header", () => {
    for (const keep of [1_000_000, 500, 4]) {
      using folder = copy("odd-windows/original");
      truncateSync(join(folder.path, "model.safetensors"), keep);
      expect(refusal(folder.path).code).toBe("checkpoint_truncated");
    }
  });

  test("a tensor of another shape", () => {
    using folder = copy("odd-windows/original");
    const name = "language_model.model.decoder.layers.0.fc1.weight";
    editHeader(join(folder.path, "model.safetensors"), (header) => header[name]?.shape.reverse());
    expect(refusal(folder.path)).toMatchObject({
      code: "checkpoint_tensor_shape",
      message: expect.stringContaining(name),
    });
  });

  test("a tensor missing", () => {
    using folder = copy("odd-windows/native");
    const name = "model.vision_tower.convs.2.conv.bias";
    editHeader(join(folder.path, "model.safetensors"), (header) => delete header[name]);
    expect(refusal(folder.path)).toMatchObject({
      code: "checkpoint_tensor_missing",
      message: expect.stringContaining(name),
    });
  });

  test("a type that is not supported", () => {
    using folder = copy("odd-windows/native");
    editHeader(join(folder.path, "model.safetensors"), (header) => {
      const first = Object.values(header).find((entry) => entry.dtype === "BF16") as Header[string];
      first.dtype = "F8_E4M3";
    });
    expect(refusal(folder.path)).toMatchObject({
      code: "checkpoint_dtype_unsupported",
      message: expect.stringContaining("F8_E4M3"),
    });
  });

  test("a file of something else", () => {
    using folder = copy("odd-windows/native");
    writeFileSync(join(folder.path, "model.safetensors"), "<!DOCTYPE html><title>Sign in</title>".padEnd(200));
    expect(refusal(folder.path).code).toBe("checkpoint_config_invalid");
  });

  test("a configuration that is no JSON, or lacks a size", () => {
    using folder = copy("odd-windows/native");
    writeFileSync(join(folder.path, "config.json"), "{");
    expect(refusal(folder.path)).toMatchObject({
      code: "checkpoint_config_invalid",
      message: expect.stringContaining("config.json"),
    });
    const config = JSON.parse(readFileSync(join(fixtures, "odd-windows/native/config.json"), "utf8"));
    delete config.text_config.d_model;
    writeFileSync(join(folder.path, "config.json"), JSON.stringify(config));
    expect(refusal(folder.path).message).toContain("d_model");
  });
});

describe("the token embedding is found under any of its names", () => {
  const original = "language_model.model.shared.weight";
  test.each([
    "language_model.model.encoder.embed_tokens.weight",
    "language_model.model.decoder.embed_tokens.weight",
    "language_model.lm_head.weight",
  ])("%s", (name) => {
    using folder = copy("even-windows/original");
    editHeader(join(folder.path, "model.safetensors"), (header) => {
      header[name] = header[original] as Header[string];
      delete header[original];
    });
    const { tensors } = openCheckpoint(folder.path);
    expect(tensors.get(embeddingName)?.name).toBe(name);
    expect(tensors.has(headName)).toBe(false);
  });

  test("a copy of the embedding that is stored as the head is not kept twice", () => {
    using folder = copy("even-windows/original");
    editHeader(join(folder.path, "model.safetensors"), (header) => {
      header["language_model.lm_head.weight"] = header[original] as Header[string];
    });
    expect(openCheckpoint(folder.path).tensors.has(headName)).toBe(false);
  });
});

test("text_config's special ids are taken, not the wrong ones of the top level", () => {
  const { config } = openCheckpoint(join(fixtures, "odd-windows/original"));
  expect(JSON.parse(readFileSync(join(fixtures, "odd-windows/original/config.json"), "utf8"))).toMatchObject({
    bos_token_id: 2,
    eos_token_id: 1,
  });
  expect(config.text).toMatchObject({ bos: 0, pad: 1, eos: [2], decoderStart: 2 });
  expect(config.generation.earlyStopping).toBe(true); // generation_config.json says false
});

test.each(["odd-windows", "even-windows"])(
  "%s holds the same numbers in both layouts and in every stored type",
  (fixture) => {
    const native = openCheckpoint(join(fixtures, fixture, "native"));
    const original = openCheckpoint(join(fixtures, fixture, "original"));
    let compared = 0;
    for (const [name, tensor] of native.tensors) {
      if (name === embeddingName || name === projectionName) continue; // other rows; stored transposed
      expect(readFloat32(original.tensors.get(name) as typeof tensor), name).toEqual(readFloat32(tensor));
      compared++;
    }
    expect(compared).toBeGreaterThan(250);
  },
);

test("the shipped checkpoint opens", () => {
  expect(openCheckpoint(join(root, "models/florence-2-drawn"))).toMatchObject({
    layout: "native",
    name: "florence-2-drawn",
  });
});

import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readFloat32 } from "../src/checkpoint/convert.ts";
import { nativeName, projectionName } from "../src/checkpoint/names.ts";
import {
  encodePrompt,
  findTask,
  type OpenOptions,
  openCheckpoint,
  prepareModel,
  resolveOptions,
} from "../src/index.ts";
import { generate } from "../src/inference/index.ts";
import { fixtures, loadFolder, temporaryFolder } from "./model-fixture.ts";
import { float32, readSafetensors, type Tensor, type Tensors, writeSafetensors } from "./weight-files.ts";

type Ids = Record<string, number[]>;
interface Goldens {
  generation: Record<string, { change: Record<string, unknown>; ids: Ids }>;
  preprocess: Record<string, { change: Record<string, unknown>; ids: Ids }>;
  tables: { scales: Record<string, number>; ids: Ids };
  adapters: Record<string, { samples: Record<string, { at: number[]; values: number[] }>; ids: Ids }>;
}

const goldens: Goldens = JSON.parse(readFileSync(join(fixtures, "variants/goldens.json"), "utf8"));
const native = join(fixtures, "odd-windows/native");
const longest = 24; // new tokens in the goldens, where the settings do not say

/** What a folder answers with its own settings, and what it is called. */
async function answersOf(
  folder: string,
  image: string,
  options: OpenOptions = {},
): Promise<{ ids: Ids; name: string }> {
  using cache = temporaryFolder();
  await using model = await loadFolder(await prepareModel(folder, { cacheFolder: cache.path, ...options }));
  const { config, name } = model.manifest;
  const features = await model.encode(join(fixtures, image));
  const ids: Ids = {};
  for (const task of ["<OCR>", "<OD>"]) {
    const asked = config.generation.maxNewTokens === undefined ? { maxNewTokens: longest } : {};
    const request = { promptIds: encodePrompt(model, findTask(task)), options: resolveOptions(asked, config) };
    ids[task] = [...((await generate(model, features, [request], model.tokenizer.size))[0]?.ids ?? [])];
  }
  return { ids, name };
}

/** A copy of odd-windows with some keys of a settings file changed; null takes a key out. */
function changed(folder: string, file: string, change: Record<string, unknown>): void {
  cpSync(native, folder, { recursive: true });
  const json = { ...JSON.parse(readFileSync(join(native, file), "utf8")), ...change };
  const kept = Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
  writeFileSync(join(folder, file), JSON.stringify(kept));
}

describe("settings are obeyed as the reference obeys them", () => {
  test.each(Object.entries(goldens.generation))("generation_config.json: %s", async (_, { change, ids }) => {
    using folder = temporaryFolder();
    changed(folder.path, "generation_config.json", change);
    expect((await answersOf(folder.path, "odd-windows/picture-0.png")).ids).toEqual(ids);
  });

  test.each(Object.entries(goldens.preprocess))("preprocessor_config.json: %s false", async (_, { change, ids }) => {
    using folder = temporaryFolder();
    changed(folder.path, "preprocessor_config.json", change);
    expect((await answersOf(folder.path, "odd-windows/picture-0.png")).ids).toEqual(ids);
  });

  test("text_config decides in Microsoft's layout, and not in Hugging Face's", () => {
    using folder = temporaryFolder();
    for (const [layout, beams] of [
      ["native", 3],
      ["original", 2],
    ] as const) {
      const copy = join(folder.path, layout);
      cpSync(join(fixtures, "odd-windows", layout), copy, { recursive: true });
      const config = JSON.parse(readFileSync(join(copy, "config.json"), "utf8"));
      Object.assign(config.text_config, { num_beams: 2, repetition_penalty: 1.5 });
      writeFileSync(join(copy, "config.json"), JSON.stringify(config));
      const { generation } = openCheckpoint(copy).config;
      expect(generation.numBeams).toBe(beams);
      expect(generation.repetitionPenalty).toBe(layout === "native" ? 1 : 1.5);
    }
  });
});

test("tables of their own for prompts, decoder and head are used as stored", async () => {
  using folder = temporaryFolder();
  cpSync(native, folder.path, { recursive: true });
  const file = join(folder.path, "model.safetensors");
  const tensors = readSafetensors(file);
  const table = tensors.get("model.language_model.shared.weight") as Tensor;
  const { scales, ids } = goldens.tables;
  for (const [part, scale] of Object.entries(scales))
    tensors.set(
      part === "head" ? "lm_head.weight" : `model.language_model.${part}.weight`,
      float32(table, (x) => x * scale),
    );
  writeSafetensors(file, tensors);
  expect((await answersOf(folder.path, "odd-windows/picture-0.png")).ids).toEqual(ids);
});

const adapterNames = Object.keys(goldens.adapters);
const adapterFolder = (name: string) => join(fixtures, "variants/adapters", name);
const base = join(fixtures, "even-windows/native");

describe("a LoRA adapter merged at build equals PEFT's merged model", () => {
  test.each(adapterNames)("%s", async (name) => {
    const golden = goldens.adapters[name] as Goldens["adapters"][string];
    const { tensors } = openCheckpoint(base, { adapters: [adapterFolder(name)] });
    for (const [key, { at, values }] of Object.entries(golden.samples)) {
      const merged = readFloat32(tensors.get(key) as NonNullable<ReturnType<typeof tensors.get>>);
      for (const [i, place] of at.entries()) expect(merged[place]).toBeCloseTo(values[i] as number, 5);
    }
    const found = await answersOf(base, "even-windows/picture-0.png", { adapters: [adapterFolder(name)] });
    expect(found).toEqual({ ids: golden.ids, name: `native+${name}` });
  });

  test("over the base in Microsoft's layout, with names of either layout", async () => {
    using folder = temporaryFolder();
    const own = join(folder.path, "plain");
    cpSync(adapterFolder("plain"), own, { recursive: true });
    const original = join(fixtures, "even-windows/original");
    const ids = goldens.adapters.plain?.ids;
    expect((await answersOf(original, "even-windows/picture-0.png", { adapters: [own] })).ids).toEqual(ids);

    const file = join(own, "adapter_model.safetensors");
    const stored = readSafetensors(file);
    const originals = new Map([...openCheckpoint(original).tensors].map(([name, tensor]) => [name, tensor.name]));
    const renamed: Tensors = new Map(
      [...stored].map(([name, tensor]) => {
        const [, module, rest] = /^base_model\.model\.(.+)(\.lora_[AB]\.weight)$/.exec(name) as unknown as string[];
        return [`base_model.model.${originals.get(`${module}.weight`)?.replace(/\.weight$/, "")}${rest}`, tensor];
      }),
    );
    expect([...renamed.keys()].some((name) => stored.has(name))).toBe(false);
    writeSafetensors(file, renamed);
    for (const folder of [original, base])
      expect((await answersOf(folder, "even-windows/picture-0.png", { adapters: [own] })).ids).toEqual(ids);
  });

  test("several are merged in order, and each is part of name and digest", async () => {
    using cache = temporaryFolder();
    const digests = new Set<string>();
    for (const adapters of [[], ["plain"], ["stabilised"], ["plain", "stabilised"]]) {
      const { manifest } = await prepareModel(base, { cacheFolder: cache.path, adapters: adapters.map(adapterFolder) });
      expect(manifest.name).toBe(["native", ...adapters].join("+"));
      digests.add(manifest.digest);
    }
    expect(digests.size).toBe(4);
    const name = "model.language_model.encoder.layers.0.self_attn.q_proj.weight";
    const value = (...adapters: string[]) => {
      const tensor = openCheckpoint(base, { adapters: adapters.map(adapterFolder) }).tensors.get(name);
      return readFloat32(tensor as NonNullable<typeof tensor>)[5] as number;
    };
    expect(value("plain", "stabilised") - value("plain")).toBeCloseTo(value("stabilised") - value(), 5);
  });

  test("a changed alpha gives another digest and another build, though the weights are the same", async () => {
    using folder = temporaryFolder();
    const own = join(folder.path, "plain");
    cpSync(adapterFolder("plain"), own, { recursive: true });
    const options = { cacheFolder: join(folder.path, "cache"), adapters: [own] };
    const first = await prepareModel(base, options);
    const file = join(own, "adapter_config.json");
    writeFileSync(file, readFileSync(file, "utf8").replace('"lora_alpha": 4', '"lora_alpha": 8'));
    const second = await prepareModel(base, options);
    expect(second.folder).not.toBe(first.folder);
    expect(second.manifest.digest).not.toBe(first.manifest.digest);
  });

  test("a table that is saved whole with an adapter leaves the others as they were", () => {
    using folder = temporaryFolder();
    const own = join(folder.path, "trained");
    cpSync(adapterFolder("plain"), own, { recursive: true });
    rmSync(join(own, "adapter_model.safetensors"));
    const shared = "model.language_model.shared.weight";
    const { tensors } = openCheckpoint(base);
    const table = readFloat32(tensors.get(shared) as NonNullable<ReturnType<typeof tensors.get>>);
    const trained: Tensor = {
      dtype: "F32",
      shape: tensors.get(shared)?.shape ?? [],
      bytes: Buffer.from(table.map((x) => x * 2).buffer),
    };
    const headOf = (saved: string) => {
      writeSafetensors(join(own, "adapter_model.safetensors"), new Map([[`base_model.model.${saved}`, trained]]));
      const opened = openCheckpoint(base, { adapters: [own] }).tensors;
      const first = (name: string) => {
        const tensor = opened.get(name) ?? opened.get(shared);
        return (readFloat32(tensor as NonNullable<typeof tensor>)[0] as number) / (table[0] as number);
      };
      return [first(shared), first("model.language_model.decoder.embed_tokens.weight"), first("lm_head.weight")];
    };
    expect(headOf("lm_head.weight")).toEqual([1, 1, 2]);
    expect(headOf(shared)).toEqual([2, 1, 1]);
  });
});

test("the projection, which Microsoft's layout stores turned, is no place for an adapter there", () => {
  const open = () => openCheckpoint(join(fixtures, "even-windows/original"), { adapters: [adapterFolder("vision")] });
  expect(nativeName("image_projection")).toBe(projectionName);
  expect(open).toThrow(/image_projection is not one of the checkpoint's that can be adapted/);
});

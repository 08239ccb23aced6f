import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  buildInto,
  clearCache,
  listCache,
  ModelError,
  openCheckpoint,
  type precisions,
  prepareModel,
} from "../src/index.ts";
import { cpu } from "../src/inference/index.ts";
import { gate, verifyVariant } from "../src/verify/index.ts";
import { fixtures, root, temporaryFolder } from "./model-fixture.ts";

const checkpoint = join(fixtures, "odd-windows/native");
const building = (folder: string) => readdirSync(folder).filter((name) => name.startsWith(".building-"));

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ModelError) return error.code;
    throw error;
  }
  return "nothing was refused";
}

describe("a raw checkpoint is built into the cache", () => {
  test("once: the second time the build is taken as it is", async () => {
    using cache = temporaryFolder();
    const first = await prepareModel(checkpoint, { cacheFolder: cache.path });
    const written = readFileSync(join(first.folder, "florence.json"), "utf8");
    let built = false;
    const second = await prepareModel(checkpoint, { cacheFolder: cache.path, progress: () => (built = true) });
    expect(second.folder).toBe(first.folder);
    expect(built).toBe(false);
    expect(readFileSync(join(second.folder, "florence.json"), "utf8")).toBe(written);
  });

  test("once for eight at the same time, with nothing left over", async () => {
    using cache = temporaryFolder();
    const built = await Promise.all(
      Array.from({ length: 8 }, () => prepareModel(checkpoint, { cacheFolder: cache.path })),
    );
    expect(new Set(built.map((b) => b.folder)).size).toBe(1);
    expect(readdirSync(cache.path)).toHaveLength(1);
  });

  test("again when the checkpoint changed", async () => {
    using folder = temporaryFolder();
    const copy = join(folder.path, "checkpoint");
    cpSync(checkpoint, copy, { recursive: true });
    const first = await prepareModel(copy, { cacheFolder: join(folder.path, "cache") });
    const later = new Date(Date.now() + 5_000);
    utimesSync(join(copy, "model.safetensors"), later, later);
    const second = await prepareModel(copy, { cacheFolder: join(folder.path, "cache") });
    expect(second.folder).not.toBe(first.folder);
  });

  test("again when any file that it is made of is edited, added or taken away", async () => {
    using folder = temporaryFolder();
    const copy = join(folder.path, "checkpoint");
    const processor = join(folder.path, "processor");
    cpSync(join(fixtures, "odd-windows/original"), copy, { recursive: true });
    cpSync(copy, processor, { recursive: true });
    const options = { cacheFolder: join(folder.path, "cache") };
    const known = new Set([(await prepareModel(copy, options)).folder]);
    const { settings } = openCheckpoint(copy);
    expect(settings.map((file) => basename(file)).sort()).toEqual(
      ["config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json", "tasks.json"]
        .concat(["added_tokens.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"])
        .sort(),
    );
    const isNew = async (what: string, extra = {}) => {
      const { folder: built } = await prepareModel(copy, { ...options, ...extra });
      expect(known.has(built), what).toBe(false);
      known.add(built);
    };
    for (const file of settings) {
      const name = basename(file);
      if (name === "merges.txt") appendFileSync(file, "\n");
      else {
        const json = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { tasks: [] };
        writeFileSync(file, JSON.stringify(json, null, name === "vocab.json" ? 3 : 7));
      }
      await isNew(name);
    }
    rmSync(join(copy, "generation_config.json"));
    await isNew("a file taken away");
    await isNew("another processor", { processor });
    appendFileSync(join(processor, "merges.txt"), "\n");
    await isNew("its file edited", { processor });
  });

  test.each(["weights.bin", "decode.onnx", "florence.json", "tokenizer.json"])(
    "again when %s in the cache is damaged",
    async (file) => {
      using cache = temporaryFolder();
      const first = await prepareModel(checkpoint, { cacheFolder: cache.path });
      const path = join(first.folder, file);
      const good = readFileSync(path);
      const bad = Buffer.from(good);
      bad[good.length >> 1] = (bad[good.length >> 1] as number) ^ 0xff;
      writeFileSync(path, file === "florence.json" ? good.subarray(0, 40) : bad);
      const second = await prepareModel(checkpoint, { cacheFolder: cache.path });
      expect(readFileSync(join(second.folder, file)).equals(good)).toBe(true);
    },
  );

  test("after a build that was killed half way, whose leftovers go", async () => {
    using cache = temporaryFolder();
    const script = `
      import { prepareModel } from ${JSON.stringify(join(root, "packages/model/src/index.ts"))};
      await prepareModel(${JSON.stringify(checkpoint)}, { cacheFolder: ${JSON.stringify(cache.path)}, progress: () => process.kill(process.pid, "SIGKILL") });`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], { stdio: "ignore" });
    await once(child, "exit");
    expect(building(cache.path)).toHaveLength(1);
    await prepareModel(checkpoint, { cacheFolder: cache.path });
    expect(building(cache.path)).toHaveLength(0);
    expect(await listCache(cache.path)).toHaveLength(1);
  });

  test("within its bound: the build not used for longest goes", async () => {
    using cache = temporaryFolder();
    const names = ["odd-windows/native", "odd-windows/original", "even-windows/original"];
    for (const name of names) {
      const built = await prepareModel(join(fixtures, name), { cacheFolder: cache.path, cacheBytesMax: 10_000_000 });
      expect(existsSync(built.folder)).toBe(true);
    }
    const entries = await listCache(cache.path);
    expect(entries.length).toBeLessThan(3);
    expect(await clearCache(cache.path)).toBe(entries.reduce((n, e) => n + e.bytes, 0));
    expect(await listCache(cache.path)).toEqual([]);
  });
});

describe("a built folder", () => {
  test("stands alone, without the checkpoint", async () => {
    using folder = temporaryFolder();
    const copy = join(folder.path, "checkpoint");
    cpSync(join(fixtures, "even-windows/original"), copy, { recursive: true });
    const out = join(folder.path, "built");
    const manifest = await buildInto(out, openCheckpoint(copy), "int8");
    rmSync(copy, { recursive: true });
    expect((await prepareModel(out, { cacheFolder: folder.path })).manifest).toEqual(manifest);
  });

  test("that was changed, cut or lost a file is refused", async () => {
    using folder = temporaryFolder();
    for (const [i, damage] of [
      (f: string) => appendFileSync(join(f, "vision.onnx"), "x"),
      (f: string) => truncateSync(join(f, "weights.bin"), 1000),
      (f: string) => rmSync(join(f, "tokenizer.json")),
      (f: string) => writeFileSync(join(f, "florence.json"), "{"),
    ].entries()) {
      const out = join(folder.path, `${i}`);
      await buildInto(out, openCheckpoint(checkpoint), "fp32");
      damage(out);
      expect(await code(prepareModel(out, { cacheFolder: folder.path }))).toBe("build_corrupt");
    }
  });

  test("of another version or precision is refused", async () => {
    using folder = temporaryFolder();
    const out = join(folder.path, "built");
    const manifest = await buildInto(out, openCheckpoint(checkpoint), "fp32");
    expect(await code(prepareModel(out, { cacheFolder: folder.path, precision: "int8" }))).toBe("option_invalid");
    writeFileSync(join(out, "florence.json"), JSON.stringify({ ...manifest, buildVersion: 0 }));
    expect(await code(prepareModel(out, { cacheFolder: folder.path }))).toBe("build_outdated");
  });

  test("is not written into a folder that holds something", async () => {
    using folder = temporaryFolder();
    mkdirSync(join(folder.path, "notes"));
    expect(await code(buildInto(folder.path, openCheckpoint(checkpoint), "fp32"))).toBe("option_invalid");
  });

  test("of fp32 holds links to float32 files, not copies", async () => {
    using folder = temporaryFolder();
    const copy = join(folder.path, "checkpoint");
    cpSync(join(fixtures, "even-windows/original"), copy, { recursive: true });
    const manifest = await buildInto(join(folder.path, "built"), openCheckpoint(copy), "fp32");
    expect(Object.keys(manifest.files)).toContain("weights-0.safetensors");
    expect(Object.keys(manifest.files)).not.toContain("weights.bin");
  });
});

test("a variant's drift is measured: hardly any for fp16 of an fp16 checkpoint, some for int8, most for int4", {
  timeout: 120_000,
}, async () => {
  using cache = temporaryFolder();
  const model = join(root, "models/florence-2-drawn");
  const build = (precision: (typeof precisions)[number]) => prepareModel(model, { cacheFolder: cache.path, precision });
  const samples = ["900000", "900001", "900003", "900004"].map((n) => ({
    image: readFileSync(join(fixtures, `drawn/scene-${n}.png`)),
  }));
  const reference = await build("fp32");
  const [fp16, int8, int4] = await Promise.all(
    (["fp16", "int8", "int4"] as const).map(async (p) =>
      verifyVariant(await build(p), reference, { samples, device: cpu(1) }),
    ),
  );
  expect(fp16).toMatchObject({ requests: 40, equalAnswers: 1, passed: true });
  expect(fp16?.meanIou).toBeGreaterThan(0.99);
  expect(int8?.featuresCosine.mean).toBeGreaterThan(gate.featuresCosineMean);
  expect(int8?.featuresCosine.mean).toBeLessThan(1);
  expect(int8?.meanIou).toBeGreaterThan(int4?.meanIou as number);
  expect(int8?.equalTokens).toBeGreaterThan(int4?.equalTokens as number);
});

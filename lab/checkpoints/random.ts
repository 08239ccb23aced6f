// Writes a checkpoint of random weights with the exact shapes of a published Florence-2, so that real sizes are exercised without the
// real weights: node lab/checkpoints/random.ts base --layout original --dtype fp16 --out DIR [--seed 1]
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { embeddingName, expectedTensors, parseConfig, projectionName } from "@florence/model/checkpoint";
import { originalName } from "./original-names.ts";
import {
  configJson,
  generationJson,
  nativeVocabulary,
  originalVocabulary,
  preprocessorJson,
  type Shape,
  shapes,
} from "./shapes.ts";
import { writeTokenizer } from "./tokenizer.ts";

type Dtype = "fp32" | "fp16" | "bf16";
const stored: Record<Dtype, { name: string; bytes: number }> = {
  fp32: { name: "F32", bytes: 4 },
  fp16: { name: "F16", bytes: 2 },
  bf16: { name: "BF16", bytes: 2 },
};
// Weights are made and written in pieces of this many numbers, whatever the size of the table.
const pieceElements = 1024 * 1024;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layout: { type: "string", default: "original" },
    dtype: { type: "string", default: "fp16" },
    out: { type: "string" },
    seed: { type: "string", default: "1" },
  },
});
const shape = shapes[positionals[0] ?? ""];
const layout = values.layout as "native" | "original";
const dtype = values.dtype as Dtype;
if (!shape || !values.out || !(dtype in stored) || !["native", "original"].includes(layout)) {
  console.error(
    `usage: node lab/checkpoints/random.ts ${Object.keys(shapes).join("|")} --layout native|original --dtype fp32|fp16|bf16 --out DIR [--seed N]`,
  );
  process.exit(2);
}
writeCheckpoint(shape, values.out, Number(values.seed));

function writeCheckpoint(of: Shape, folder: string, seed: number): void {
  mkdirSync(folder, { recursive: true });
  const json = { config: configJson(of, layout), generation: generationJson, preprocessor: preprocessorJson() };
  const write = (file: string, content: unknown) =>
    writeFileSync(join(folder, file), `${JSON.stringify(content, null, 1)}\n`);
  write("config.json", json.config);
  write("generation_config.json", json.generation);
  write("preprocessor_config.json", json.preprocessor);
  writeTokenizer(folder, layout);

  const config = parseConfig(layout, json);
  const rows = layout === "native" ? nativeVocabulary : originalVocabulary;
  const tensors = [...expectedTensors(config), { name: embeddingName, shape: [rows, of.hidden] }].map(
    ({ name, shape: dims }) => ({
      name: layout === "native" ? name : originalName(name),
      native: name,
      shape: layout === "original" && name === projectionName ? [...dims].reverse() : dims,
    }),
  );
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const { name, shape: dims } of tensors) {
    const length = dims.reduce((n, d) => n * d, stored[dtype].bytes);
    header[name] = { dtype: stored[dtype].name, shape: dims, data_offsets: [offset, offset + length] };
    offset += length;
  }
  const head = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([head, Buffer.alloc((8 - (head.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const fd = openSync(join(folder, "model.safetensors"), "w");
  writeSync(fd, length);
  writeSync(fd, padded);
  const random = xorshift(seed);
  for (const { native, shape: dims } of tensors) writeTensor(fd, native, dims, random);
  closeSync(fd);
  console.error(`${folder}: ${tensors.length} tensors, ${((8 + padded.length + offset) / 1e6).toFixed(1)} MB`);
}

/** Scales that keep activations near 1 through all layers; norms near the identity. */
function writeTensor(fd: number, name: string, dims: readonly number[], random: () => number): void {
  const total = dims.reduce((n, d) => n * d, 1);
  const isNorm = /norm|layernorm/.test(name);
  const fan = dims.slice(1).reduce((n, d) => n * d, 1);
  const scale = name.endsWith(".bias")
    ? 0.02
    : isNorm
      ? 0.1
      : name === embeddingName
        ? 0.35
        : /embed/.test(name)
          ? 0.1
          : Math.sqrt(3 / fan);
  const centre = isNorm && name.endsWith(".weight") ? 1 : 0;
  for (let done = 0; done < total; done += pieceElements) {
    const piece = new Float32Array(Math.min(pieceElements, total - done));
    for (let i = 0; i < piece.length; i++) piece[i] = centre + scale * random();
    writeSync(fd, encode(piece));
  }
}

function encode(piece: Float32Array<ArrayBuffer>): Uint8Array {
  if (dtype === "fp32") return new Uint8Array(piece.buffer);
  if (dtype === "fp16") return new Uint8Array(Float16Array.from(piece).buffer);
  const bits = new Uint32Array(piece.buffer);
  return new Uint8Array(Uint16Array.from(bits, (b) => b >>> 16).buffer);
}

/** Uniform numbers in [-1, 1); 32-bit xorshift, never 0. */
function xorshift(seed: number): () => number {
  let state = seed * 2654435761 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 2147483648;
  };
}

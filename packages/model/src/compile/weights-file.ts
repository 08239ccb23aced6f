import { constants, copyFileSync, linkSync, realpathSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { readFloat32, readFloat32Pieces } from "../checkpoint/convert.ts";
import { decoderEmbeddingName, embeddingName, headName } from "../checkpoint/names.ts";
import { isPlain, type StoredTensor } from "../checkpoint/stored-tensor.ts";
import type { External } from "../graphs/graph.ts";
import type { LinearWeight, PlainWeight, WeightSource } from "../graphs/layers.ts";
import { type Form, headForm, linearForm, type Precision, tableForm } from "./precision.ts";
import { blockSize, quantizeBlocks, quantizeColumns } from "./quantize.ts";

export type Progress = (done: number, total: number) => void;

export interface BuildOptions {
  readonly progress?: Progress | undefined;
  /** Tensors, by native name, that stay float32 whatever the precision; lm_head.weight is the head, also where it is tied. */
  readonly keep?: RegExp | undefined;
}

/** A checkpoint's weights in a built folder, for the graph builders, and the files that hold them. */
export interface PlacedWeights {
  readonly source: WeightSource;
  readonly files: readonly string[];
}

const weightsFileName = "weights.bin";
// The runtime maps external data page by page; a tensor that starts on a cache line is read with aligned loads.
const alignment = 64;
// A fused projection is quantised in its three parts, because the graphs use them apart.
const fused = /\.qkv\.weight$/;

/**
 * Puts a checkpoint's weights into a built folder. In fp32, files that are float32 already are linked, not copied: the runtime maps
 * them. Everything else is converted or quantised into one file, tensor by tensor: memory stays at the largest tensor.
 */
export async function placeWeights(
  checkpoint: Checkpoint,
  folder: string,
  precision: Precision,
  { progress, keep }: BuildOptions = {},
): Promise<PlacedWeights> {
  const plain = new Map<string, PlainWeight>();
  const linears = new Map<string, LinearWeight>();
  const linked = new Map<string, string>();
  const work: { name: string; tensor: StoredTensor; form: Form }[] = [];
  for (const [name, tensor] of checkpoint.tensors) {
    const form = keep?.test(name) ? "float32" : formOf(name, precision);
    // Only fp32 reads most of a linked file; the others take a few small tensors of it and must stand alone.
    if (precision === "fp32" && tensor.dtype === "F32" && isPlain(tensor) && tensor.offset % 4 === 0)
      plain.set(name, { dims: tensor.shape, type: "float32", where: link(tensor, folder, linked) });
    else work.push({ name, tensor, form });
  }
  const embedding = checkpoint.tensors.get(embeddingName) as StoredTensor;
  const head = keep?.test(headName) ? tableForm(precision) : headForm(precision);
  if (!checkpoint.tensors.has(headName) && head.endsWith("-blocks"))
    work.push({ name: headName, tensor: embedding, form: head });

  if (work.length > 0) {
    await using file = new WeightsFile(await open(join(folder, weightsFileName), "w"));
    const total = work.reduce((n, { tensor }) => n + tensor.length, 0);
    let done = 0;
    for (const { name, tensor, form } of work) {
      if (form === "float32" || form === "float16")
        plain.set(name, { dims: tensor.shape, type: form, where: await file.convert(tensor, form) });
      else for (const [key, weight] of await file.quantize(name, tensor, form)) linears.set(key, weight);
      done += tensor.length;
      progress?.(done, total);
    }
  }
  const files = [...linked.values(), ...(work.length > 0 ? [weightsFileName] : [])];
  return { source: weightSource(checkpoint, plain, linears), files };
}

function formOf(name: string, precision: Precision): Form {
  if (name === embeddingName || name === decoderEmbeddingName) return tableForm(precision);
  return name === headName ? headForm(precision) : (linearForm(name, precision) ?? "float32");
}

/** The key of a linear's weight, or of one part of a fused one. */
const linearKey = (name: string, part?: number) => (part === undefined ? name : `${name}#${part}`);

function weightSource(
  checkpoint: Checkpoint,
  plain: Map<string, PlainWeight>,
  linears: Map<string, LinearWeight>,
): WeightSource {
  return {
    projectionTransposed: checkpoint.projectionTransposed,
    has: (name) => plain.has(name) || linears.has(name),
    get(name) {
      const weight = plain.get(name);
      if (!weight) throw new Error(`the graphs read ${name}, which was not placed`);
      return weight;
    },
    quantized: (name, part) => linears.get(linearKey(name, part)),
  };
}

/** One file that tensors are appended to. */
class WeightsFile implements AsyncDisposable {
  readonly #file: FileHandle;
  #end = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Appends a tensor as float32 or float16, piece by piece. */
  async convert(tensor: StoredTensor, form: "float32" | "float16"): Promise<External> {
    const start = this.#align();
    for (const piece of readFloat32Pieces(tensor)) await this.#write(form === "float32" ? piece : toFloat16(piece));
    return { file: weightsFileName, offset: start, length: this.#end - start };
  }

  /** Appends a linear's weight [N, K], quantised; a fused one as three. */
  async quantize(name: string, tensor: StoredTensor, form: Form): Promise<[string, LinearWeight][]> {
    const values = readFloat32(tensor);
    const inputs = tensor.shape[1] as number;
    const parts = fused.test(name) ? 3 : 1;
    const outputs = (tensor.shape[0] as number) / parts;
    const out: [string, LinearWeight][] = [];
    for (let part = 0; part < parts; part++) {
      const rows = values.subarray(part * outputs * inputs, (part + 1) * outputs * inputs);
      const key = linearKey(name, parts === 1 ? undefined : part);
      if (form === "int8-columns") {
        const { data, scales } = quantizeColumns(rows, outputs, inputs);
        out.push([
          key,
          { kind: "columns", outputs, inputs, data: await this.#append(data), scales: await this.#append(scales) },
        ]);
      } else {
        const bits = form === "int4-blocks" ? 4 : 8;
        const { data, scales } = quantizeBlocks(rows, outputs, inputs, bits);
        const shape = { kind: "blocks", bits, blockSize, outputs, inputs } as const;
        out.push([key, { ...shape, data: await this.#append(data), scales: await this.#append(scales) }]);
      }
    }
    return out;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #append(array: ArrayBufferView<ArrayBuffer>): Promise<External> {
    const start = this.#align();
    await this.#write(array);
    return { file: weightsFileName, offset: start, length: this.#end - start };
  }

  #align(): number {
    this.#end = Math.ceil(this.#end / alignment) * alignment;
    return this.#end;
  }

  async #write(array: ArrayBufferView<ArrayBuffer>): Promise<void> {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#end + done);
      done += bytesWritten;
    }
    this.#end += bytes.length;
  }
}

function toFloat16(piece: Float32Array): ArrayBufferView<ArrayBuffer> {
  return Float16Array.from(piece);
}

function link(tensor: StoredTensor, folder: string, linked: Map<string, string>): External {
  let file = linked.get(tensor.file);
  if (!file) {
    file = `weights-${linked.size}${extname(tensor.file)}`;
    linkOrCopy(tensor.file, join(folder, file));
    linked.set(tensor.file, file);
  }
  return { file, offset: tensor.offset, length: tensor.length };
}

/**
 * A hard link where both stand on one file system. The runtime refuses symbolic links, so what a link leads to is linked, as in the
 * Hugging Face cache. Else a copy (shared blocks where supported).
 */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(realpathSync(from), to);
  } catch {
    copyFileSync(from, to, constants.COPYFILE_FICLONE);
  }
}

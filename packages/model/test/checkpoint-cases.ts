import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { OpenOptions } from "../src/index.ts";
import { fixtures } from "./model-fixture.ts";
import { float32, pickleText, readSafetensors, type Tensors, writePytorch, writeSafetensors } from "./weight-files.ts";

/** A folder as users have them, and what becomes of it. */
export interface CheckpointCase {
  /** What the folder is, as docs/checkpoints.md says it. */
  readonly folder: string;
  /** What happens, in a few words, as docs/checkpoints.md says it. */
  readonly happens: string;
  /** Makes the folder within `at`; returns the path to give where it is another than `at`. */
  readonly make: (at: string) => string | undefined;
  readonly options?: (at: string) => OpenOptions;
  /** The refusal's code and a part of its sentence; absent where the folder gives the golden ids of odd-windows. */
  readonly refused?: readonly [code: string, says: RegExp];
  /** A part of what is said about a folder that loads. */
  readonly note?: RegExp;
  /** Whether ids are other than the goldens by intent, and only loading is looked at. */
  readonly otherIds?: boolean;
}

const native = join(fixtures, "odd-windows/native");
const original = join(fixtures, "odd-windows/original");
const weights = "model.safetensors";
const shared = "model.language_model.shared.weight";

const copy = (at: string, from = native) => {
  cpSync(from, at, { recursive: true });
  return undefined;
};
const remove = (at: string, ...files: string[]) => {
  for (const file of files) rmSync(join(at, file));
};
const edit = (at: string, file: string, change: Record<string, unknown>) => {
  const json = JSON.parse(readFileSync(join(at, file), "utf8"));
  writeFileSync(join(at, file), JSON.stringify({ ...json, ...change }));
};
const read = (from = native): Tensors => readSafetensors(join(from, weights));
/** A copy whose weights are written anew. */
const rewritten = (at: string, change: (tensors: Tensors) => Tensors, from = native) => {
  copy(at, from);
  writeSafetensors(join(at, weights), change(read(from)));
  return undefined;
};
const mapped = (tensors: Tensors, rename: (name: string) => string): Tensors =>
  new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));
/** A copy whose weights are a PyTorch file. */
const pickled = (at: string, options = {}, change = (t: Tensors) => t, from = native) => {
  copy(at, from);
  remove(at, weights);
  writePytorch(join(at, "pytorch_model.bin"), change(read(from)), options);
  return undefined;
};
const processorFiles = ["preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"];

/** Every kind of folder that was met. Those with a golden check are built and asked; the others must say one clear sentence. */
export const checkpointCases: readonly CheckpointCase[] = [
  {
    folder: "Hugging Face's layout (florence-community, save_pretrained of transformers 4.56 and later)",
    happens: "loads",
    make: copy,
  },
  { folder: "Microsoft's layout (microsoft/Florence-2-*)", happens: "loads", make: (at) => copy(at, original) },
  {
    folder: "saved by transformers 5: image settings inside processor_config.json",
    happens: "loads",
    make: (at) => {
      copy(at);
      edit(at, "processor_config.json", {
        image_processor: JSON.parse(readFileSync(join(at, "preprocessor_config.json"), "utf8")),
      });
      remove(at, "preprocessor_config.json");
      return undefined;
    },
  },
  {
    folder: "float32 weights",
    happens: "loads; the build links the file instead of copying it",
    make: (at) => rewritten(at, (t) => new Map([...t].map(([name, tensor]) => [name, float32(tensor)]))),
  },
  {
    folder: "a repository's folder in the Hugging Face cache, files linked into blobs",
    happens: "loads, under the repository's name",
    make: (at) => {
      const repository = join(at, "models--owner--name");
      const snapshot = join(repository, "snapshots/0a1b2c");
      mkdirSync(snapshot, { recursive: true });
      copy(join(repository, "blobs"));
      const file = join(repository, "blobs", weights);
      writeSafetensors(file, new Map([...read()].map(([name, tensor]) => [name, float32(tensor)])));
      for (const name of readdirSync(join(repository, "blobs")))
        symlinkSync(join("../../blobs", name), join(snapshot, name));
      return repository;
    },
  },
  {
    folder: "such a folder with several snapshots",
    happens: "refused: give one of the snapshots",
    make: (at) => {
      const repository = join(at, "models--owner--name");
      for (const revision of ["0a1b2c", "3d4e5f"]) copy(join(repository, "snapshots", revision));
      return repository;
    },
    refused: ["checkpoint_file_missing", /2 snapshots: give one of them/],
  },
  {
    folder: "the Hugging Face cache itself",
    happens: "refused: give one of its repositories",
    make: (at) => {
      copy(join(at, "models--owner--name/snapshots/0a1b2c"));
      return undefined;
    },
    refused: ["checkpoint_file_missing", /is a Hugging Face cache: give one of its repositories/],
  },
  {
    folder: "weights in parts, with model.safetensors.index.json",
    happens: "loads",
    make: (at) => {
      copy(at);
      remove(at, weights);
      const tensors = [...read()];
      const half = Math.floor(tensors.length / 2);
      const parts = { "model-1.safetensors": tensors.slice(0, half), "model-2.safetensors": tensors.slice(half) };
      for (const [file, part] of Object.entries(parts)) writeSafetensors(join(at, file), new Map(part));
      const map = Object.entries(parts).flatMap(([file, part]) => part.map(([name]) => [name, file]));
      writeFileSync(join(at, "model.safetensors.index.json"), JSON.stringify({ weight_map: Object.fromEntries(map) }));
      return undefined;
    },
  },
  {
    folder: "one of the parts missing",
    happens: "refused: the part is named",
    make: (at) => {
      copy(at);
      remove(at, weights);
      writeFileSync(
        join(at, "model.safetensors.index.json"),
        JSON.stringify({ weight_map: { [shared]: "model-1.safetensors" } }),
      );
      return undefined;
    },
    refused: ["checkpoint_file_missing", /1 of 1 parts of the weights are missing.*model-1\.safetensors/],
  },
  {
    folder: "an index of an earlier save beside a whole model.safetensors",
    happens: "loads the whole file, and says so",
    make: (at) => {
      copy(at);
      writeFileSync(
        join(at, "model.safetensors.index.json"),
        JSON.stringify({ weight_map: { [shared]: "model-1.safetensors" } }),
      );
      return undefined;
    },
    note: /is read whole; model\.safetensors\.index\.json beside it/,
  },
  {
    folder: "pytorch_model.bin (torch.save of a state dictionary)",
    happens: "loads; none of the pickle's code is run",
    make: (at) => pickled(at),
  },
  {
    folder: "pytorch_model.bin in Microsoft's layout, matrices stored transposed",
    happens: "loads",
    make: (at) => pickled(at, { transposed: () => true }, undefined, original),
  },
  {
    folder: "pytorch_model.bin in parts, with pytorch_model.bin.index.json",
    happens: "loads",
    make: (at) => {
      copy(at);
      remove(at, weights);
      const map: Record<string, string> = {};
      for (const [i, part] of [0, 1].entries()) {
        const file = `pytorch_model-${i + 1}.bin`;
        const tensors = new Map([...read()].filter((_, k) => k % 2 === part));
        for (const name of tensors.keys()) map[name] = file;
        writePytorch(join(at, file), tensors);
      }
      writeFileSync(join(at, "pytorch_model.bin.index.json"), JSON.stringify({ weight_map: map }));
      return undefined;
    },
  },
  {
    folder: "a PyTorch file called model.safetensors",
    happens: "loads",
    make: (at) => {
      pickled(at);
      renameSync(join(at, "pytorch_model.bin"), join(at, weights));
      return undefined;
    },
  },
  {
    folder: "a folder called pytorch_model.bin, as DeepSpeed's converter makes it",
    happens: "refused",
    make: (at) => {
      copy(at);
      remove(at, weights);
      mkdirSync(join(at, "pytorch_model.bin"));
      return undefined;
    },
    refused: ["checkpoint_file_missing", /pytorch_model\.bin cannot be read as a file/],
  },
  {
    folder: "pytorch_model.bin that names anything but tensors and dictionaries",
    happens: "refused: the name is said, nothing is run",
    make: (at) =>
      pickled(at, {
        extra: Buffer.concat([pickleText("x"), Buffer.from("cos\nsystem\n("), pickleText("echo"), Buffer.from("tR")]),
      }),
    refused: ["checkpoint_unsupported", /its pickle names os\.system\. Nothing of it was run/],
  },
  {
    folder: "pytorch_model.bin in the format from before PyTorch 1.6",
    happens: "refused: save it again",
    make: (at) => {
      copy(at);
      remove(at, weights);
      const magic = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");
      writeFileSync(join(at, "pytorch_model.bin"), Buffer.concat([magic, Buffer.alloc(100)]));
      return undefined;
    },
    refused: ["checkpoint_unsupported", /format from before version 1\.6/],
  },
  ...["module.", "_orig_mod.", "base_model.model.", "module._orig_mod."].map(
    (prefix): CheckpointCase => ({
      folder: `names that all begin with ${prefix}`,
      happens: "loads without the prefix, and says so",
      make: (at) => rewritten(at, (t) => mapped(t, (name) => prefix + name)),
      note: /which was taken off/,
    }),
  ),
  {
    folder: "a LoRA adapter beside the weights",
    happens: "loads with the adapter merged (even without --adapter)",
    make: (at) => {
      copy(at, join(fixtures, "even-windows/native"));
      cpSync(join(fixtures, "variants/adapters/plain"), at, { recursive: true });
      return undefined;
    },
    otherIds: true,
  },
  {
    folder: "a LoRA adapter in a folder of its own, with --adapter beside its base",
    happens: "loads with the adapter merged",
    make: (at) => copy(at, join(fixtures, "even-windows/native")),
    options: () => ({ adapters: [join(fixtures, "variants/adapters/plain")] }),
    otherIds: true,
  },
  {
    folder: "an adapter without its base",
    happens: "refused: the base is named",
    make: (at) => copy(at, join(fixtures, "variants/adapters/plain")),
    refused: ["checkpoint_file_missing", /holds only an adapter for even-windows: give the folder of its base/],
  },
  {
    folder: "a DoRA adapter, or one of another kind than LoRA",
    happens: "refused: what it uses is named",
    make: (at) => {
      copy(at, join(fixtures, "even-windows/native"));
      cpSync(join(fixtures, "variants/adapters/plain"), at, { recursive: true });
      edit(at, "adapter_config.json", { use_dora: true });
      return undefined;
    },
    refused: ["checkpoint_unsupported", /it uses use_dora/],
  },
  {
    folder: "an adapter of another checkpoint",
    happens: "refused: the shapes are named",
    make: copy,
    options: () => ({ adapters: [join(fixtures, "variants/adapters/plain")] }),
    refused: ["checkpoint_tensor_shape", /does not fit the checkpoint/],
  },
  {
    folder: "a model saved with its adapter still wrapped around it",
    happens: "refused: merge it before saving",
    make: (at) =>
      rewritten(at, (t) => mapped(t, (name) => name.replace(/(self_attn\.q_proj)\.weight$/, "$1.base_layer.weight"))),
    refused: ["checkpoint_unsupported", /save it after merge_and_unload/],
  },
  {
    folder: "weights and config only, with --processor",
    happens: "loads with that folder's tokenizer and image settings",
    make: (at) => {
      copy(join(at, "bare"));
      remove(join(at, "bare"), ...processorFiles);
      return join(at, "bare");
    },
    options: () => ({ processor: native }),
  },
  {
    folder: "weights and config only",
    happens: "refused: name a folder with --processor",
    make: (at) => {
      copy(at);
      remove(at, ...processorFiles);
      return undefined;
    },
    refused: ["checkpoint_file_missing", /holds no tokenizer .* with --processor/],
  },
  {
    folder: "a tokenizer but no image settings",
    happens: "loads with the model card's (768 x 768 pixels), and says so",
    make: (at) => {
      // The small fixture has too few positions for an image of that size: it gets more.
      rewritten(at, (t) => {
        const longer = new Map(t);
        for (const side of ["encoder", "decoder"]) {
          const name = `model.language_model.${side}.embed_positions.weight`;
          const table = t.get(name);
          if (!table) throw new Error(`${name} is missing`);
          const width = table.shape[1] as number;
          const bytes = Buffer.concat(Array(4).fill(table.bytes)).subarray(0, 1026 * width * 2);
          longer.set(name, { ...table, shape: [1026, width], bytes });
        }
        return longer;
      });
      const { text_config } = JSON.parse(readFileSync(join(at, "config.json"), "utf8"));
      edit(at, "config.json", { text_config: { ...text_config, max_position_embeddings: 1024 } });
      remove(at, "preprocessor_config.json");
      return undefined;
    },
    note: /no settings for images .* 768 x 768/,
    otherIds: true,
  },
  {
    folder: "no generation_config.json (Hugging Face's layout)",
    happens: "loads with the model card's settings, and says so",
    make: (at) => {
      copy(at);
      remove(at, "generation_config.json");
      return undefined;
    },
    note: /There is no generation_config\.json/,
  },
  {
    folder: "a tokenizer with tokens that the embedding has no row for",
    happens: "loads and says so; a prompt with such a token is refused by itself",
    make: (at) => {
      copy(at, original);
      remove(at, "tokenizer.json");
      writeFileSync(join(at, "added_tokens.json"), JSON.stringify({ "<NEWTOKEN>": 1924 }));
      return undefined;
    },
    note: /has no row for \(<NEWTOKEN>\): prompts with them are refused/,
  },
  {
    folder: "a tokenizer of another checkpoint, whose location tokens lie outside the embedding",
    happens: "refused",
    make: (at) => {
      copy(at, original);
      const tokenizer = JSON.parse(readFileSync(join(at, "tokenizer.json"), "utf8"));
      for (let i = 0; i < 50; i++) tokenizer.model.vocab[`more${i}`] = 900 + i;
      writeFileSync(join(at, "tokenizer.json"), JSON.stringify(tokenizer));
      return undefined;
    },
    refused: ["checkpoint_config_invalid", /tokenizer does not belong to these weights/],
  },
  {
    folder: "a vocab_size that is not the embedding's number of rows",
    happens: "refused",
    make: (at) => {
      copy(at);
      const { text_config } = JSON.parse(readFileSync(join(at, "config.json"), "utf8"));
      edit(at, "config.json", { text_config: { ...text_config, vocab_size: 2048 } });
      return undefined;
    },
    refused: ["checkpoint_tensor_shape", /shared\.weight has shape .* where config\.json needs \[2048/],
  },
  {
    folder: "a weight that is NaN or infinite",
    happens: "refused: the tensor is named",
    make: (at) =>
      rewritten(at, (t) => {
        const name = "model.vision_tower.blocks.2.0.channel_block.ffn.fc1.weight";
        const tensor = t.get(name);
        if (!tensor) throw new Error(`${name} is missing`);
        const bytes = Buffer.from(tensor.bytes);
        bytes.writeUInt16LE(0x7f80, 2 * 77); // bfloat16's infinity
        return new Map(t).set(name, { ...tensor, bytes });
      }),
    refused: [
      "checkpoint_weights_invalid",
      /2\.0\.channel_block\.ffn\.fc1\.weight holds a number that is no finite one/,
    ],
  },
  {
    folder: "quantised weights (bitsandbytes, GPTQ, AWQ)",
    happens: "refused: give the checkpoint before that",
    make: (at) => {
      copy(at);
      edit(at, "config.json", { quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } });
      return undefined;
    },
    refused: ["checkpoint_unsupported", /quantised with bitsandbytes in 4 bits/],
  },
  {
    folder: "another model",
    happens: "refused: its type is named",
    make: (at) => {
      copy(at);
      edit(at, "config.json", { model_type: "blip-2" });
      return undefined;
    },
    refused: ["checkpoint_unsupported", /a model of type blip-2, not Florence-2/],
  },
  {
    folder: "a setting that changes answers and is not known (such as do_sample)",
    happens: "refused: the setting is named",
    make: (at) => {
      copy(at);
      edit(at, "generation_config.json", { do_sample: true });
      return undefined;
    },
    refused: ["checkpoint_unsupported", /generation_config\.json sets do_sample to true/],
  },
  {
    folder: "do_resize false",
    happens: "refused",
    make: (at) => {
      copy(at);
      edit(at, "preprocessor_config.json", { do_resize: false });
      return undefined;
    },
    refused: ["checkpoint_unsupported", /sets do_resize to false/],
  },
  ...[weights, "tokenizer.json", "config.json"].map(
    (file): CheckpointCase => ({
      folder: `a Git LFS pointer in place of ${file}`,
      happens: "refused: git lfs pull",
      make: (at) => {
        copy(at);
        writeFileSync(
          join(at, file),
          `version https://git-lfs.github.com/spec/v1\noid sha256:${"a".repeat(64)}\nsize 463221266\n`,
        );
        return undefined;
      },
      refused: ["checkpoint_file_missing", new RegExp(`${file} is a Git LFS pointer.*git lfs pull`)],
    }),
  ),
  {
    folder: "ONNX graphs (onnx-community)",
    happens: "refused: give the checkpoint that they were exported from",
    make: (at) => {
      copy(at);
      remove(at, weights);
      mkdirSync(join(at, "onnx"));
      writeFileSync(join(at, "onnx/vision_encoder.onnx"), "");
      return undefined;
    },
    refused: ["checkpoint_unsupported", /holds ONNX graphs \(onnx\).*florence-community/],
  },
  {
    folder: "weights of other frameworks and trainers (GGUF, OpenVINO, Flax, MLX, DeepSpeed, FSDP)",
    happens: "refused: what it is, and what to do",
    make: (at) => {
      copy(at);
      renameSync(join(at, weights), join(at, "model.gguf"));
      return undefined;
    },
    refused: ["checkpoint_unsupported", /holds GGUF weights/],
  },
  {
    folder: "a training's folder with checkpoint-500, checkpoint-1000, …",
    happens: "refused: give one of them",
    make: (at) => {
      for (const step of ["checkpoint-500", "checkpoint-1000"]) copy(join(at, step));
      return undefined;
    },
    refused: ["checkpoint_file_missing", /a training's checkpoints: give one of them, such as .*checkpoint-1000/],
  },
  {
    folder: "a folder around the checkpoint's folder",
    happens: "refused: the inner folder is named",
    make: (at) => copy(join(at, "Florence-2-base")),
    refused: ["checkpoint_file_missing", /holds no weights itself: give its folder .*Florence-2-base/],
  },
  {
    folder: "weights under another name",
    happens: "refused: how to call it",
    make: (at) => {
      copy(at);
      renameSync(join(at, weights), join(at, "florence2_final.pt"));
      return undefined;
    },
    refused: ["checkpoint_file_missing", /if florence2_final\.pt is the model's weights, give it that name/],
  },
  {
    folder: "settings without weights",
    happens: "refused",
    make: (at) => {
      copy(at);
      remove(at, weights);
      return undefined;
    },
    refused: ["checkpoint_file_missing", /holds config\.json but no weights/],
  },
  {
    folder: "weights without config.json",
    happens: "refused",
    make: (at) => {
      copy(at);
      remove(at, "config.json");
      return undefined;
    },
    refused: ["checkpoint_file_missing", /holds weights but no config\.json/],
  },
  {
    folder: "an archive (.zip, .tar.gz)",
    happens: "refused: unpack it",
    make: (at) => {
      writeFileSync(join(at, "florence.zip"), "PK");
      return join(at, "florence.zip");
    },
    refused: ["checkpoint_file_missing", /is an archive: unpack it/],
  },
  {
    folder: "a single weight file",
    happens: "refused: give its folder",
    make: (at) => {
      copyFileSync(join(native, weights), join(at, weights));
      return join(at, weights);
    },
    refused: ["checkpoint_file_missing", /is a file: give the folder/],
  },
  {
    folder: "a repository's name where no such folder is, in FLORENCE_MODEL of a service by itself",
    happens: "refused: fetch it first (the command line fetches it, see models.md)",
    make: () => "microsoft/Florence-2-base",
    refused: ["checkpoint_file_missing", /fetch it first: florence pull microsoft\/Florence-2-base/],
  },
  {
    folder: "an empty folder, or one of something else",
    happens: "refused",
    make: () => undefined,
    refused: ["checkpoint_file_missing", /holds no checkpoint/],
  },
];

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import { ModelError } from "../errors.ts";
import { isLfsPointer, lfsPointer } from "./files.ts";
import { bytesPerElement, type StoredTensor, type StoredType } from "./stored-tensor.ts";

const MiB = 1024 * 1024;
// The largest known header (Florence-2-large, 918 tensors) is about 120 kB.
const headerBytesMax = 32 * MiB;

/** Whole-number types appear in some fine-tunes (buffers such as position ids); nothing in the graphs reads them. */
const ignoredTypes = new Set(["I64", "I32", "I16", "I8", "U8", "BOOL"]);

/**
 * Reads the header of a safetensors file: where every tensor lies. The tensors' bytes are not read.
 * Format: https://huggingface.co/docs/safetensors (u64 header length, JSON header, then the data).
 * Throws checkpoint_file_missing, checkpoint_truncated, checkpoint_dtype_unsupported or checkpoint_config_invalid.
 */
export function readSafetensorsHeader(file: string): Map<string, StoredTensor> {
  const name = basename(file);
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (cause) {
    throw new ModelError("checkpoint_file_missing", `${name} cannot be opened in the checkpoint folder.`, { cause });
  }
  try {
    const size = fstatSync(fd).size;
    const head = Buffer.alloc(8);
    if (size < 8 || readSync(fd, head, 0, 8, 0) !== 8) throw truncated(name, "it is shorter than its own header");
    const start = Buffer.alloc(Math.min(size, 64));
    readSync(fd, start, 0, start.length, 0);
    if (isLfsPointer(start)) throw lfsPointer(name);
    const headerLength = Number(head.readBigUInt64LE());
    if (headerLength > headerBytesMax) {
      throw new ModelError(
        "checkpoint_config_invalid",
        `${name} is not a safetensors file: its header claims ${headerLength} bytes.`,
      );
    }
    if (8 + headerLength > size) throw truncated(name, "it ends inside its header");
    const json = Buffer.alloc(headerLength);
    readSync(fd, json, 0, headerLength, 8);
    return parseHeader(json.toString("utf8"), file, name, 8 + headerLength, size);
  } finally {
    closeSync(fd);
  }
}

function parseHeader(
  json: string,
  file: string,
  name: string,
  dataStart: number,
  size: number,
): Map<string, StoredTensor> {
  let header: Record<string, { dtype?: unknown; shape?: unknown; data_offsets?: unknown }>;
  try {
    header = JSON.parse(json);
  } catch (cause) {
    throw new ModelError("checkpoint_config_invalid", `${name} is not a safetensors file: its header is not JSON.`, {
      cause,
    });
  }
  const tensors = new Map<string, StoredTensor>();
  for (const [tensor, entry] of Object.entries(header)) {
    if (tensor === "__metadata__") continue;
    const { dtype, shape, data_offsets: offsets } = entry;
    if (typeof dtype !== "string" || !isNumbers(shape) || !isNumbers(offsets) || offsets.length !== 2) {
      throw new ModelError("checkpoint_config_invalid", `${name}: the header entry of ${tensor} is malformed.`);
    }
    if (ignoredTypes.has(dtype)) continue;
    if (!(dtype in bytesPerElement)) {
      throw new ModelError(
        "checkpoint_dtype_unsupported",
        `${name}: tensor ${tensor} has type ${dtype}; float32, float16 and bfloat16 are supported.`,
      );
    }
    const [start, end] = offsets as [number, number];
    const length = shape.reduce((n, d) => n * d, 1) * bytesPerElement[dtype as StoredType];
    if (end - start !== length) {
      throw new ModelError(
        "checkpoint_config_invalid",
        `${name}: tensor ${tensor} has ${end - start} bytes where its shape needs ${length}.`,
      );
    }
    if (start < 0 || dataStart + end > size)
      throw truncated(name, `tensor ${tensor} ends ${dataStart + end - size} bytes past the end of the file`);
    tensors.set(tensor, { name: tensor, dtype: dtype as StoredType, shape, file, offset: dataStart + start, length });
  }
  return tensors;
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function truncated(name: string, how: string): ModelError {
  return new ModelError("checkpoint_truncated", `${name} is incomplete: ${how}. Download it again.`);
}

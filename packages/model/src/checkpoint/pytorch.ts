import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import { ModelError } from "../errors.ts";
import { isLfsPointer, lfsPointer } from "./files.ts";
import { PersistentId, PickleCall, PickleGlobal, type PickleValue, readPickle } from "./pickle.ts";
import { bytesPerElement, type StoredTensor, type StoredType } from "./stored-tensor.ts";
import { readZipDirectory, type ZipEntry } from "./zip.ts";

const storageTypes: Readonly<Record<string, StoredType | "other">> = {
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  // Whole numbers are buffers that nothing reads; float64 is refused where a graph needs it.
  "torch.DoubleStorage": "other",
  "torch.LongStorage": "other",
  "torch.IntStorage": "other",
  "torch.ShortStorage": "other",
  "torch.CharStorage": "other",
  "torch.ByteStorage": "other",
  "torch.BoolStorage": "other",
};
const rebuildTensor = "torch._utils._rebuild_tensor_v2";
const rebuildParameter = "torch._utils._rebuild_parameter";
const allowed: ReadonlySet<string> = new Set([rebuildTensor, rebuildParameter, ...Object.keys(storageTypes)]);

// The names and shapes of large's 920 tensors take 150 kB.
const pickleBytesMax = 32 * 1024 * 1024;
const legacyMagic = Buffer.from([0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]);

/**
 * Where every tensor of a PyTorch file lies (torch.save of a state dictionary: a zip of stored entries, one of them a pickle that names
 * the others). The tensors' bytes are not read, and no code of the pickle is run. A state dictionary inside another dictionary, under
 * "state_dict", "model" or "module", is found.
 * Throws checkpoint_file_missing, checkpoint_truncated, checkpoint_unsupported or checkpoint_dtype_unsupported.
 */
export function readPytorchHeader(file: string): Map<string, StoredTensor> {
  const name = basename(file);
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (cause) {
    throw new ModelError("checkpoint_file_missing", `${name} cannot be opened in the checkpoint folder.`, { cause });
  }
  try {
    const { size } = fstatSync(fd);
    const start = Buffer.alloc(Math.min(size, 64));
    readSync(fd, start, 0, start.length, 0);
    checkFormat(start, name);
    const entries = readZipDirectory(fd, size, name);
    const pickleName = [...entries.keys()].find((entry) => /^[^/]+\/data\.pkl$/.test(entry));
    if (pickleName === undefined) throw unsupported(name, "it holds no data.pkl: torch.save did not write it");
    const prefix = pickleName.slice(0, -"data.pkl".length);
    const order = entries.get(`${prefix}byteorder`);
    if (order && readEntry(fd, order, 16, name).toString("latin1") !== "little")
      throw unsupported(name, "its numbers are big-endian");
    const pickle = readEntry(fd, entries.get(pickleName) as ZipEntry, pickleBytesMax, name);
    const state = stateDictionary(readPickle(pickle, allowed, name));
    if (!state) throw unsupported(name, "it holds no state dictionary");
    const tensors = new Map<string, StoredTensor>();
    for (const [key, value] of state) {
      if (typeof key !== "string") continue;
      const tensor = toTensor(key, value, { file, name, entries, prefix });
      if (tensor) tensors.set(key, tensor);
    }
    return tensors;
  } finally {
    closeSync(fd);
  }
}

function checkFormat(start: Buffer, name: string): void {
  if (isLfsPointer(start)) throw lfsPointer(name);
  if (start.subarray(0, legacyMagic.length).equals(legacyMagic))
    throw unsupported(
      name,
      "it is in PyTorch's format from before version 1.6: load it with torch.load and save it again, best as safetensors",
    );
  if (start.length < 4 || start.readUInt32LE(0) !== 0x04034b50)
    throw unsupported(name, "it does not begin as torch.save's files do");
}

function readEntry(fd: number, { offset, length }: ZipEntry, lengthMax: number, name: string): Buffer {
  if (length > lengthMax) throw unsupported(name, `an entry that should be small has ${length} bytes`);
  const bytes = Buffer.alloc(length);
  if (readSync(fd, bytes, 0, length, offset) !== length)
    throw new ModelError("checkpoint_truncated", `${name} is incomplete. Download it again.`);
  return bytes;
}

/** The dictionary of tensors: the object itself, or what trainers put it under. */
function stateDictionary(value: PickleValue): Map<PickleValue, PickleValue> | undefined {
  if (!(value instanceof Map)) return undefined;
  for (const key of ["state_dict", "model", "module"]) {
    const inner = value.get(key);
    if (inner instanceof Map) return inner;
  }
  return value;
}

interface Archive {
  readonly file: string;
  readonly name: string;
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly prefix: string;
}

/** A tensor as it lies in its storage; undefined for what is no tensor, or one of whole numbers. */
function toTensor(key: string, value: PickleValue, archive: Archive): StoredTensor | undefined {
  if (!(value instanceof PickleCall)) return undefined;
  if (value.name === rebuildParameter) return toTensor(key, value.args[0] ?? null, archive);
  const [storage, offset, shape, strides] = value.args;
  if (value.name !== rebuildTensor || !(storage instanceof PersistentId) || !Array.isArray(storage.id))
    throw malformed(key, archive.name);
  const [kind, type, entryKey, , numbers] = storage.id;
  if (kind !== "storage" || !(type instanceof PickleGlobal) || typeof entryKey !== "string")
    throw malformed(key, archive.name);
  const dtype = storageTypes[type.name];
  if (type.name === "torch.DoubleStorage")
    throw new ModelError(
      "checkpoint_dtype_unsupported",
      `${archive.name}: tensor ${key} has type float64; float32, float16 and bfloat16 are supported.`,
    );
  if (dtype === undefined || dtype === "other") return undefined;
  if (
    !isCount(offset) ||
    !isCount(numbers) ||
    !isCounts(shape) ||
    !isCounts(strides) ||
    shape.length !== strides.length
  )
    throw malformed(key, archive.name);
  const entry = archive.entries.get(`${archive.prefix}data/${entryKey}`);
  const width = bytesPerElement[dtype];
  if (!entry || entry.length < numbers * width)
    throw new ModelError(
      "checkpoint_truncated",
      `${archive.name} is incomplete: the numbers of tensor ${key} are missing. Download it again.`,
    );
  const count = shape.reduce((n, d) => n * d, 1);
  const last = shape.reduce((n, d, axis) => n + Math.max(0, d - 1) * (strides[axis] as number), 0);
  if (count > numbers) throw unsupported(archive.name, `tensor ${key} repeats its numbers`);
  if (count > 0 && offset + last >= numbers) throw malformed(key, archive.name);
  const tensor = {
    name: key,
    dtype,
    shape,
    file: archive.file,
    offset: entry.offset + offset * width,
    length: count * width,
  };
  return isRowMajor(shape, strides) ? tensor : { ...tensor, strides };
}

function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis] as number;
  }
  return true;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

// PyTorch itself allows 64; the weights here have at most four.
const dimensionsMax = 8;

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= dimensionsMax && value.every(isCount);
}

function malformed(key: string, name: string): ModelError {
  return unsupported(name, `its entry of tensor ${key.slice(0, 200)} is malformed`);
}

function unsupported(name: string, why: string): ModelError {
  return new ModelError("checkpoint_unsupported", `${name} cannot be read: ${why}.`);
}

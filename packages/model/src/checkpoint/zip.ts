import { readSync } from "node:fs";
import { ModelError } from "../errors.ts";

/** Where a stored entry's bytes lie in the file. */
export interface ZipEntry {
  readonly offset: number;
  readonly length: number;
}

const endRecord = 0x06054b50;
const end64Locator = 0x07064b50;
const end64Record = 0x06064b50;
const centralHeader = 0x02014b50;
const localHeader = 0x04034b50;
// The end record is 22 bytes with a comment of at most 65,535 behind it.
const endSearchBytesMax = 22 + 0xffff;
// Large has 920 tensors, each an entry with some 100 bytes of directory: this is far more.
const directoryBytesMax = 16 * 1024 * 1024;

/**
 * The entries of a zip file by name. Only stored entries are allowed, as PyTorch writes them, so that a tensor is a range of the file.
 * Format: APPNOTE.TXT 6.3, with its 64-bit records. Throws checkpoint_truncated or checkpoint_unsupported, naming `name`.
 */
export function readZipDirectory(fd: number, size: number, name: string): Map<string, ZipEntry> {
  const { entries, offset, length } = findDirectory(fd, size, name);
  if (length > directoryBytesMax || offset + length > size) throw broken(name);
  const directory = read(fd, offset, length, name);
  const found = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < entries; i++) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== centralHeader) throw broken(name);
    const flags = directory.readUInt16LE(at + 8);
    const method = directory.readUInt16LE(at + 10);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => directory.readUInt16LE(at + o)) as [
      number,
      number,
      number,
    ];
    const end = at + 46 + nameLength + extraLength + commentLength;
    if (end > directory.length) throw broken(name);
    const entryName = directory.toString("utf8", at + 46, at + 46 + nameLength);
    const extra = directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const [stored, full, local] = wideNumbers(
      [directory.readUInt32LE(at + 20), directory.readUInt32LE(at + 24), directory.readUInt32LE(at + 42)],
      extra,
      name,
    );
    if (method !== 0 || (flags & 1) !== 0 || stored !== full)
      throw new ModelError(
        "checkpoint_unsupported",
        `${name} is a compressed or encrypted archive: PyTorch's own files are neither. Unpack it, or save the weights again.`,
      );
    found.set(entryName, { offset: dataStart(fd, local, size, name), length: full });
    if ((found.get(entryName) as ZipEntry).offset + full > size) throw broken(name);
    at = end;
  }
  return found;
}

function findDirectory(fd: number, size: number, name: string): { entries: number; offset: number; length: number } {
  const tailLength = Math.min(size, endSearchBytesMax);
  const tail = read(fd, size - tailLength, tailLength, name);
  let at = tail.length - 22;
  while (at >= 0 && tail.readUInt32LE(at) !== endRecord) at--;
  if (at < 0) throw broken(name);
  const small = {
    entries: tail.readUInt16LE(at + 10),
    length: tail.readUInt32LE(at + 12),
    offset: tail.readUInt32LE(at + 16),
  };
  if (at < 20 || tail.readUInt32LE(at - 20) !== end64Locator) return small;
  const record = read(fd, safe(tail.readBigUInt64LE(at - 20 + 8), name), 56, name);
  if (record.readUInt32LE(0) !== end64Record) throw broken(name);
  const [entries, length, offset] = [32, 40, 48].map((o) => safe(record.readBigUInt64LE(o), name)) as [
    number,
    number,
    number,
  ];
  return { entries, length, offset };
}

/** The three 32-bit numbers of a header, each taken from the 64-bit extra field where it is all ones. */
function wideNumbers(small: readonly number[], extra: Buffer, name: string): [number, number, number] {
  let wide = Buffer.alloc(0);
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1) wide = Buffer.from(extra.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  // The field holds the full length before the stored one.
  const numbers = [small[1], small[0], small[2]] as number[];
  let at = 0;
  for (const [i, value] of numbers.entries()) {
    if (value !== 0xffffffff) continue;
    if (at + 8 > wide.length) throw broken(name);
    numbers[i] = safe(wide.readBigUInt64LE(at), name);
    at += 8;
  }
  return [numbers[1], numbers[0], numbers[2]] as [number, number, number];
}

/** A local header repeats the name, with an extra field of its own length (PyTorch pads with it) before the data. */
function dataStart(fd: number, local: number, size: number, name: string): number {
  if (local + 30 > size) throw broken(name);
  const header = read(fd, local, 30, name);
  if (header.readUInt32LE(0) !== localHeader) throw broken(name);
  return local + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

function read(fd: number, offset: number, length: number, name: string): Buffer {
  const bytes = Buffer.alloc(length);
  if (readSync(fd, bytes, 0, length, offset) !== length) throw broken(name);
  return bytes;
}

function safe(value: bigint, name: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken(name);
  return Number(value);
}

function broken(name: string): ModelError {
  return new ModelError(
    "checkpoint_truncated",
    `${name} is incomplete: its archive cannot be read. Download it again.`,
  );
}

import { readFileSync, writeFileSync } from "node:fs";

/** A tensor's bytes and what they mean. */
export interface Tensor {
  readonly dtype: "F32" | "F16" | "BF16";
  readonly shape: readonly number[];
  readonly bytes: Buffer;
}
export type Tensors = Map<string, Tensor>;

export function readSafetensors(file: string): Tensors {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  const header: Record<string, { dtype: Tensor["dtype"]; shape: number[]; data_offsets: [number, number] }> =
    JSON.parse(bytes.subarray(8, 8 + length).toString());
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== "__metadata__")
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [start, end],
          },
        ]) => [name, { dtype, shape, bytes: bytes.subarray(8 + length + start, 8 + length + end) }],
      ),
  );
}

export function writeSafetensors(file: string, tensors: Tensors): void {
  let at = 0;
  const header = Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, bytes }]) => {
      const start = at;
      at += bytes.length;
      return [name, { dtype, shape, data_offsets: [start, at] }];
    }),
  );
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8)); // the data begins at a multiple of 8
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([head, json, ...[...tensors.values()].map(({ bytes }) => bytes)]));
}

/** A tensor as float32, every number through `change`. */
export function float32(tensor: Tensor, change = (x: number, _i: number) => x): Tensor {
  const numbers = toNumbers(tensor).map(change);
  return { dtype: "F32", shape: tensor.shape, bytes: Buffer.from(Float32Array.from(numbers).buffer) };
}

export function toNumbers({ dtype, bytes }: Tensor): number[] {
  if (dtype === "F32") return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  const half = Uint16Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i));
  return [
    ...(dtype === "F16"
      ? new Float16Array(half.buffer)
      : new Float32Array(Uint32Array.from(half, (h) => h << 16).buffer)),
  ];
}

const storages = { F32: "FloatStorage", F16: "HalfStorage", BF16: "BFloat16Storage" } as const;

export interface PytorchOptions {
  /** Matrices that are stored transposed, with strides that turn them back. */
  readonly transposed?: (name: string) => boolean;
  /** Extra pickle code before the dictionary ends. */
  readonly extra?: Buffer;
  /** 8 is a compressed entry: never written by PyTorch. */
  readonly method?: number;
}

/** Writes a state dictionary as torch.save does: a zip of stored entries and a pickle, protocol 2. */
export function writePytorch(file: string, tensors: Tensors, options: PytorchOptions = {}): void {
  const entries: [string, Buffer][] = [];
  const items = [...tensors].map(([name, tensor], key) => {
    const turned = tensor.shape.length === 2 && options.transposed?.(name) === true;
    entries.push([`archive/data/${key}`, turned ? transpose(tensor) : tensor.bytes]);
    const [rows = 1] = tensor.shape;
    const strides = turned
      ? [1, rows]
      : tensor.shape.map((_, axis) => tensor.shape.slice(axis + 1).reduce((n, d) => n * d, 1));
    const count = tensor.shape.reduce((n, d) => n * d, 1);
    return Buffer.concat([
      text(name),
      Buffer.from("ctorch._utils\n_rebuild_tensor_v2\n(("),
      text("storage"),
      Buffer.from(`ctorch\n${storages[tensor.dtype]}\n`),
      text(String(key)),
      text("cpu"),
      whole(count),
      Buffer.from("tQ"),
      whole(0),
      tuple(tensor.shape),
      tuple(strides),
      Buffer.from("\x89ccollections\nOrderedDict\n)RtR", "latin1"),
    ]);
  });
  const pickle = Buffer.concat([
    Buffer.from("\x80\x02ccollections\nOrderedDict\n)R(", "latin1"),
    ...items,
    options.extra ?? Buffer.alloc(0),
    Buffer.from("u."),
  ]);
  writeFileSync(
    file,
    zip([["archive/data.pkl", pickle], ["archive/byteorder", Buffer.from("little")], ...entries], options.method ?? 0),
  );
}

const text = (value: string) => Buffer.concat([Buffer.from("X"), uint32(Buffer.byteLength(value)), Buffer.from(value)]);
const whole = (value: number) => Buffer.concat([Buffer.from("J"), uint32(value)]);
const tuple = (values: readonly number[]) => Buffer.concat([Buffer.from("("), ...values.map(whole), Buffer.from("t")]);
export const pickleText = text;

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function transpose({ shape, dtype, bytes }: Tensor): Buffer {
  const width = dtype === "F32" ? 4 : 2;
  const [rows, columns] = shape as [number, number];
  const out = Buffer.alloc(bytes.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      bytes.copy(out, (c * rows + r) * width, (r * columns + c) * width, (r * columns + c + 1) * width);
  return out;
}

/** A zip archive of stored entries, with 64-bit records as PyTorch writes them. */
function zip(entries: readonly [string, Buffer][], method: number): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, data] of entries) {
    const local = Buffer.alloc(30 + name.length);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt32LE(data.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(name.length, 26);
    local.write(name, 30);
    const central = Buffer.alloc(46 + name.length + 12);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(data.length, 20);
    central.writeUInt32LE(data.length, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(12, 30);
    central.writeUInt32LE(0xffffffff, 42);
    central.write(name, 46);
    central.writeUInt16LE(1, 46 + name.length); // the offset, in 64 bits
    central.writeUInt16LE(8, 48 + name.length);
    central.writeBigUInt64LE(BigInt(at), 50 + name.length);
    directory.push(central);
    parts.push(local, data);
    at += local.length + data.length;
  }
  const size = directory.reduce((n, d) => n + d.length, 0);
  const end64 = Buffer.alloc(56);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(44n, 4);
  for (const offset of [24, 32]) end64.writeBigUInt64LE(BigInt(entries.length), offset);
  end64.writeBigUInt64LE(BigInt(size), 40);
  end64.writeBigUInt64LE(BigInt(at), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(at + size), 8);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.fill(0xff, 8, 20);
  return Buffer.concat([...parts, ...directory, end64, locator, end]);
}

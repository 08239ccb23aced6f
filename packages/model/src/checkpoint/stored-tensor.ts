/** The types of numbers that weights are stored in. */
export type StoredType = "F32" | "F16" | "BF16";

export const bytesPerElement: Record<StoredType, number> = { F32: 4, F16: 2, BF16: 2 };

/** Where one tensor's bytes lie: little-endian, from `offset` of `file`. */
export interface StoredTensor {
  /** As the file has it. */
  readonly name: string;
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  readonly file: string;
  readonly offset: number;
  /** Bytes of the tensor's own numbers. */
  readonly length: number;
  /** Numbers from one place of an axis to the next; absent where the tensor lies row-major without gaps. */
  readonly strides?: readonly number[];
  /** What adapters add, in their order. */
  readonly added?: readonly LowRank[];
}

/** A product that is added to a weight: scale * b @ a, both as matrices [rows, rank] and [rank, the rest]. */
export interface LowRank {
  readonly a: StoredTensor;
  readonly b: StoredTensor;
  readonly scale: number;
}

/** Whether the tensor's bytes are the tensor: row-major, with nothing added. */
export function isPlain(tensor: StoredTensor): boolean {
  return tensor.strides === undefined && tensor.added === undefined;
}

/** Bytes of the file from a tensor's first number to its last. */
export function spanBytes({ dtype, shape, length, strides }: StoredTensor): number {
  if (!strides || length === 0) return length;
  const last = shape.reduce((n, d, axis) => n + (d - 1) * (strides[axis] as number), 0);
  return (last + 1) * bytesPerElement[dtype];
}

/** The stored tensors that a tensor is made of: itself, and what adapters add. */
export function storedParts(tensor: StoredTensor): StoredTensor[] {
  return [tensor, ...(tensor.added ?? []).flatMap(({ a, b }) => [a, b])];
}

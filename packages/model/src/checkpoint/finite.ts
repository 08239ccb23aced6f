import { bytesPerElement, type StoredType } from "./stored-tensor.ts";

// A number whose exponent is all ones is an infinity or no number.
const exponents: Record<StoredType, number> = { F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80 };

/**
 * Whether a run of bytes holds finite numbers only. `skipped` bytes of the tensor came before: a number that began there or goes on
 * after these bytes is judged by its last two bytes, where its exponent stands.
 */
export function isFiniteThroughout(bytes: Uint8Array, dtype: StoredType, skipped: number): boolean {
  const width = bytesPerElement[dtype];
  const lead = (width - (skipped % width)) % width;
  const whole = Math.max(0, Math.floor((bytes.length - lead) / width));
  return (
    endIsFinite(bytes.subarray(0, Math.min(lead, bytes.length)), dtype) && wholeAreFinite(bytes, lead, whole, dtype)
  );
}

/** The rest of a number that was cut by a chunk's edge. Its exponent is in its last two bytes, except for float16's, in the last. */
function endIsFinite(rest: Uint8Array, dtype: StoredType): boolean {
  if (rest.length === 0) return true;
  const last = rest.at(-1) as number;
  if (dtype === "F16") return (last & 0x7c) !== 0x7c;
  return (last & 0x7f) !== 0x7f || (rest.length > 1 && ((rest.at(-2) as number) & 0x80) === 0);
}

function wholeAreFinite(bytes: Uint8Array, lead: number, count: number, dtype: StoredType): boolean {
  const width = bytesPerElement[dtype];
  let at = bytes.byteOffset + lead;
  let { buffer } = bytes;
  if (at % width !== 0) {
    buffer = Uint8Array.from(bytes.subarray(lead, lead + count * width)).buffer; // typed arrays begin at whole numbers
    at = 0;
  }
  const numbers = width === 4 ? new Uint32Array(buffer, at, count) : new Uint16Array(buffer, at, count);
  const exponent = exponents[dtype];
  for (let i = 0; i < numbers.length; i++) if (((numbers[i] as number) & exponent) === exponent) return false;
  return true;
}

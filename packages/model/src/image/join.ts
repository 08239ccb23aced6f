// The largest file that the gateway takes. Fresh memory of that size costs more than filling it.
const spareBytesMax = 16 * 1024 * 1024;
let spare: Buffer | undefined;

/**
 * Joins a file's parts for as long as `use` runs. The memory is kept for the next file, so `use` must not keep it; files
 * that are joined at the same time have memory of their own.
 */
export async function withJoined<T>(parts: readonly Uint8Array[], use: (file: Uint8Array) => Promise<T>): Promise<T> {
  const [first] = parts;
  if (parts.length === 1 && first) return use(first);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const memory = spare !== undefined && spare.length >= length ? spare : Buffer.allocUnsafeSlow(length);
  if (memory === spare) spare = undefined;
  try {
    let at = 0;
    for (const part of parts) {
      memory.set(part, at);
      at += part.length;
    }
    return await use(memory.subarray(0, length));
  } finally {
    if (memory.length <= spareBytesMax && memory.length > (spare?.length ?? 0)) spare = memory;
  }
}

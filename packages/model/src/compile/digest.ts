import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { isFiniteThroughout } from "../checkpoint/finite.ts";
import { type StoredTensor, spanBytes } from "../checkpoint/stored-tensor.ts";
import { ModelError } from "../errors.ts";

const chunkBytes = 1024 * 1024;

/** sha-256 over the files' bytes in the order given, hex. */
export async function digestFiles(files: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const file of files)
    for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes })) hash.update(chunk);
  return hash.digest("hex");
}

/**
 * The digest of the files that hold weights, as digestFiles has it. In the same pass every number of the tensors is looked at: a NaN or
 * an infinity anywhere makes every answer noise. Throws checkpoint_weights_invalid naming the tensor.
 */
export async function digestWeights(files: readonly string[], tensors: Iterable<StoredTensor>): Promise<string> {
  const byFile = Map.groupBy([...new Set(tensors)], (tensor) => tensor.file);
  const hash = createHash("sha256");
  for (const file of files) {
    const inOrder = (byFile.get(file) ?? []).sort((a, b) => a.offset - b.offset);
    let first = 0;
    let start = 0;
    for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      const end = start + chunk.length;
      for (let i = first; i < inOrder.length; i++) {
        const tensor = inOrder[i] as StoredTensor;
        if (tensor.offset >= end) break;
        const tensorEnd = tensor.offset + spanBytes(tensor);
        const [from, to] = [Math.max(tensor.offset, start), Math.min(tensorEnd, end)];
        if (from < to) checkPart(tensor, chunk.subarray(from - start, to - start), from - tensor.offset);
        if (i === first && tensorEnd <= end) first++; // it is behind us
      }
      start = end;
    }
  }
  return hash.digest("hex");
}

/** Looks at a part of a tensor's bytes; `skipped`: bytes of it that came before. */
function checkPart(tensor: StoredTensor, part: Buffer, skipped: number): void {
  if (isFiniteThroughout(part, tensor.dtype, skipped)) return;
  throw new ModelError(
    "checkpoint_weights_invalid",
    `Tensor ${tensor.name} holds a number that is no finite one (NaN or infinity): the weights are damaged, or their training diverged.`,
  );
}

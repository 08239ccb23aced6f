import { constants, copyFileSync, linkSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { readFloat32Pieces } from "../checkpoint/convert.ts";
import { bytesPerElement, type StoredTensor } from "../checkpoint/safetensors.ts";
import type { External } from "../graphs/graph.ts";

export type Progress = (done: number, total: number) => void;

/** Where each tensor's float32 bytes lie in the built folder, by native name, and the files that hold them. */
export interface PlacedWeights {
  readonly places: ReadonlyMap<string, External>;
  readonly files: readonly string[];
}

export const weightsFileName = "weights.bin";
// The runtime maps external data page by page; a tensor that starts on a cache line is read with aligned loads.
const alignment = 64;

/**
 * Puts a checkpoint's weights into a built folder as float32. Files that are float32 already are linked, not copied: the runtime maps
 * them. Other types are converted into one file, tensor by tensor.
 */
export async function placeFloat32Weights(
  checkpoint: Checkpoint,
  folder: string,
  progress?: Progress,
): Promise<PlacedWeights> {
  const tensors = [...checkpoint.tensors];
  const places = new Map<string, External>();
  const linked = new Map<string, string>();
  const convert: [string, StoredTensor][] = [];
  for (const [name, tensor] of tensors) {
    if (tensor.dtype !== "F32") {
      convert.push([name, tensor]);
      continue;
    }
    let file = linked.get(tensor.file);
    if (!file) {
      file = `weights-${linked.size}.safetensors`;
      linkOrCopy(tensor.file, join(folder, file));
      linked.set(tensor.file, file);
    }
    places.set(name, { file, offset: tensor.offset, length: tensor.length });
  }
  if (convert.length > 0) {
    await using file = await open(join(folder, weightsFileName), "w");
    await writeConverted(file, convert, places, progress);
  }
  return { places, files: [...linked.values(), ...(convert.length > 0 ? [weightsFileName] : [])] };
}

async function writeConverted(
  file: FileHandle,
  tensors: [string, StoredTensor][],
  places: Map<string, External>,
  progress?: Progress,
): Promise<void> {
  const elements = (t: StoredTensor) => t.length / bytesPerElement[t.dtype];
  const total = tensors.reduce((n, [, t]) => n + elements(t), 0);
  let offset = 0;
  let done = 0;
  for (const [name, tensor] of tensors) {
    offset = Math.ceil(offset / alignment) * alignment;
    const start = offset;
    for (const piece of readFloat32Pieces(tensor)) {
      await file.write(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength), 0, piece.byteLength, offset);
      offset += piece.byteLength;
      done += piece.length;
      progress?.(done, total);
    }
    places.set(name, { file: weightsFileName, offset: start, length: offset - start });
  }
}

/** A hard link where both stand on one file system; the runtime refuses symbolic links. Else a copy (shared blocks where supported). */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to, constants.COPYFILE_FICLONE);
  }
}

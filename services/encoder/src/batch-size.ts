import type { Manifest } from "@florence/model";

// Their activations are quantised with one scale for the whole batch: a picture's neighbours would change its numbers.
const scaledByBatch: ReadonlySet<string> = new Set(["int8"]);

/** How many pictures one run takes, within the bounds on their number and on the bytes of their activations. */
export function batchSize(manifest: Manifest, bounds: { batchMax: number; batchBytesMax: number }): number {
  if (scaledByBatch.has(manifest.precision)) return 1;
  const byBytes = Math.floor(bounds.batchBytesMax / activationBytes(manifest));
  return Math.max(1, Math.min(bounds.batchMax, byBytes));
}

// How many of a model's widest maps a run holds for one picture, the runtime's own reserve included: measured as the
// process's growth between batches of 1 and 8 with the drawn checkpoint, which takes 13 MB a picture.
const mapsHeld = 25;

/** An estimate of what a run takes for one picture beside the weights, in bytes. */
export function activationBytes({ config: { vision, maps } }: Manifest): number {
  const numbers = maps.map((side, stage) => side * side * (vision.channels[stage] as number));
  return Math.max(...numbers) * mapsHeld * Float32Array.BYTES_PER_ELEMENT;
}

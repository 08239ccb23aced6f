import { createHash } from "node:crypto";
import type { Manifest } from "@florence/model";

/** Raised when decoding or resizing gives other pixels than before for some picture. */
export const PREPROCESS = "p1";

/**
 * What the key of an embedding says beside weights and pixels: the version of this code, the input's side, the precision
 * of the graph, and a digest of what the weights' digest does not cover: the checkpoint's own preprocessing settings, and the layers that
 * a quantised build left alone.
 */
export function preprocessVersion({ precision, kept, config: { preprocess } }: Manifest): string {
  const settings = createHash("sha256")
    .update(JSON.stringify(kept === undefined ? preprocess : [preprocess, kept]))
    .digest("hex")
    .slice(0, 8);
  return `${PREPROCESS}-${preprocess.size}-${precision}-${settings}`;
}

import { createHash } from "node:crypto";
import type { Manifest } from "@florence/model";

/** Raised when decoding or resizing gives other pixels than before for some picture. */
export const PREPROCESS = "p1";

/**
 * What the key of an embedding says beside weights and pixels: the version of this code, the input's side, the precision
 * of the graph, and a digest of the checkpoint's own preprocessing settings (which its weights' digest does not cover).
 */
export function preprocessVersion({ precision, config: { preprocess } }: Manifest): string {
  const settings = createHash("sha256").update(JSON.stringify(preprocess)).digest("hex").slice(0, 8);
  return `${PREPROCESS}-${preprocess.size}-${precision}-${settings}`;
}

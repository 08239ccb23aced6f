import type { Region } from "../answers/index.ts";
import { type AnswerKind, isTextKind } from "../tasks.ts";

/** What two models' answers to one request are compared by. */
export interface Comparable {
  readonly kind: AnswerKind;
  /** The answer in full, as text; what counts where an answer has no regions. */
  readonly text: string;
  readonly regions: readonly Region[];
}

/** Whether two answers to one request say the same: the same text, or the same labels at regions that overlap by half or more. */
export function isSame(a: Comparable, b: Comparable): boolean {
  if (isTextKind(a.kind)) return a.text === b.text;
  const labels = ({ regions }: Comparable) =>
    regions
      .map((r) => r.label)
      .sort()
      .join("\n");
  return labels(a) === labels(b) && overlaps(a.regions, b.regions).every((iou) => iou >= 0.5);
}

/** Overlap of each region with its best partner of the same label, each used once; 0 for those left over on either side. */
export function overlaps(a: readonly Region[], b: readonly Region[]): number[] {
  const free = new Set(b);
  const out: number[] = [];
  for (const region of a) {
    let best: Region | undefined;
    let most = 0;
    for (const other of free) {
      const iou =
        region.label === other.label && region.shape === other.shape ? boxIou(bounds(region), bounds(other)) : 0;
      if (iou > most) [best, most] = [other, iou];
    }
    if (best) free.delete(best);
    out.push(most);
  }
  return [...out, ...Array(free.size).fill(0)];
}

type Box = readonly [x1: number, y1: number, x2: number, y2: number];

function bounds({ rings }: Region): Box {
  const flat = rings.flat();
  const xs = flat.filter((_, i) => i % 2 === 0);
  const ys = flat.filter((_, i) => i % 2 === 1);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** Coordinates are whole pixels, both ends included. */
function boxIou(a: Box, b: Box): number {
  const area = ([x1, y1, x2, y2]: Box) => Math.max(0, x2 - x1 + 1) * Math.max(0, y2 - y1 + 1);
  const shared = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return shared / (area(a) + area(b) - shared);
}

/** Cosine of each row of `a` with the same row of `b`: both [rows, width]. */
export function rowCosines(a: Float32Array, b: Float32Array, width: number): number[] {
  const out: number[] = [];
  for (let at = 0; at < a.length; at += width) {
    let dot = 0;
    let aa = 0;
    let bb = 0;
    for (let i = at; i < at + width; i++) {
      const [x, y] = [a[i] as number, b[i] as number];
      dot += x * y;
      aa += x * x;
      bb += y * y;
    }
    out.push(dot / Math.sqrt(aa * bb));
  }
  return out;
}

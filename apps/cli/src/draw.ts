import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { type DecodeOptions, decodeImage } from "@florence/model";
import { Canvas, type Color, type Point } from "./canvas.ts";

// Told apart by hue and by lightness.
const colors: readonly Color[] = [
  [230, 25, 75],
  [0, 130, 200],
  [60, 180, 75],
  [245, 130, 48],
  [145, 30, 180],
  [255, 225, 25],
  [70, 240, 240],
  [128, 0, 0],
];

interface Drawn {
  readonly rings: readonly Point[][];
  readonly label: string;
}

/** How the image was read for the answer, so that it is drawn on as the model saw it. */
export type ImageReading = Pick<DecodeOptions, "autoOrient" | "background">;

/** Draws every region of answers on their image, with label and score, and writes a PNG. */
export async function drawAnswer(
  image: Uint8Array,
  answers: readonly unknown[],
  file: string,
  reading: ImageReading,
): Promise<void> {
  const { width, height, rgb } = await decodeImage(image, reading);
  const canvas = new Canvas(width, height, new Uint8Array(rgb));
  const unit = Math.max(width, height);
  const thickness = Math.max(2, unit / 300);
  const labels = new Map<string, Color>();
  const regions = answers.flatMap(regionsOf);
  const colorOf = (name: string) => {
    const known = labels.get(name) ?? (colors[labels.size % colors.length] as Color);
    labels.set(name, known);
    return known;
  };
  for (const { rings, label } of regions)
    for (const ring of rings) canvas.outline(ring, thickness, colorOf(nameOf(label)));
  for (const { rings, label } of regions) {
    const points = rings.flat();
    if (label === "" || points.length === 0) continue;
    const [x, y] = [Math.min(...points.map((p) => p[0])), Math.min(...points.map((p) => p[1]))];
    await canvas.label(label, x, y, Math.max(11, unit / 45), colorOf(nameOf(label)));
  }
  mkdirSync(dirname(file), { recursive: true });
  await canvas.save(file);
}

const nameOf = (label: string) => label.replace(/ \d\.\d\d$/, "");

/** What of an answer can be drawn: boxes, quads and polygons with their labels. */
function regionsOf(value: unknown): Drawn[] {
  if (typeof value !== "object" || value === null) return [];
  const of = value as Record<string, unknown[] | undefined>;
  const pair = (
    shapes: string,
    labels: readonly string[],
    scores: string,
    rings: (shape: never) => Point[][],
  ): Drawn[] =>
    (of[shapes] ?? []).map((shape, i) => {
      const label = String(labels.map((name) => of[name]?.[i]).find((l) => l !== undefined) ?? "");
      const score = of[scores]?.[i];
      return {
        rings: rings(shape as never),
        label: typeof score === "number" ? `${label} ${score.toFixed(2)}`.trim() : label,
      };
    });
  return [
    ...pair("bboxes", ["labels", "bboxes_labels"], "scores", ([x1, y1, x2, y2]: number[]) => [
      [
        [x1, y1],
        [x2, y1],
        [x2, y2],
        [x1, y2],
      ] as Point[],
    ]),
    ...pair("quad_boxes", ["labels"], "scores", (quad: number[]) => [pointsOf(quad)]),
    ...pair(
      "polygons",
      ["polygons_labels", "labels"],
      of.polygons_scores ? "polygons_scores" : "scores",
      (rings: number[][]) => rings.map(pointsOf),
    ),
  ];
}

function pointsOf(flat: readonly number[]): Point[] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] as number, flat[2 * i + 1] as number]);
}

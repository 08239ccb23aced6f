import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A path in the repository, from its root. */
export function repositoryPath(path: string): string {
  return fileURLToPath(new URL(`../../../${path}`, import.meta.url));
}

export function readFixture<T>(path: string): T {
  return JSON.parse(readFileSync(repositoryPath(`test/fixtures/${path}`), "utf8")) as T;
}

/** What the reference's parser makes of a generated text, and of boxes. */
export interface ParseFixture {
  cases: { task: string; imageSize: [number, number]; text: string; answer: Record<string, unknown> }[];
  quantize: { imageSize: [number, number]; box: number[]; bins: number[]; back: number[] }[];
}

export interface Goldens {
  cases: {
    task: string;
    input: string | null;
    prompt: string;
    promptIds: number[];
    imageSize: [number, number];
    runs: { beams: number; ids: number[]; text: string; tokenLogProbs: number[]; answer: Record<string, unknown> }[];
  }[];
}

/** Every checkpoint folder with the goldens made from its weights. */
export const checkpoints: readonly { name: string; folder: string; goldens: string }[] = [
  ...["odd-windows", "even-windows"].flatMap((name) =>
    ["native", "original"].map((layout) => ({
      name: `${name}, ${layout} layout`,
      folder: `test/fixtures/${name}/${layout}`,
      goldens: `${name}/goldens.json`,
    })),
  ),
  { name: "drawn", folder: "models/florence-2-drawn", goldens: "drawn/goldens.json" },
];

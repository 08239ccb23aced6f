// What it costs that images are opened in processes of their own:
//   node lab/bench/image-boundary.ts [rounds]
// The same files through prepareImage on this thread and through the encoder's pool, in turns within one run. What another program does on
// the cores at the same time shows in both; its load is printed.
import { readdirSync, readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { prepareImage } from "@florence/model/image";
import { createEvents } from "@florence/service";
import { processEvents } from "@florence/worker";
import sharp from "sharp";
import { ImagePool } from "../../services/encoder/src/image-pool.ts";

const rounds = Number(process.argv[2] ?? 30);
const size = 768;
const demo = fileURLToPath(new URL("../../models/demo", import.meta.url));
const files = new Map<string, Uint8Array>(
  readdirSync(demo)
    .filter((name) => /\.(png|jpe?g|webp)$/.test(name))
    .map((name) => [name, new Uint8Array(readFileSync(join(demo, name)))]),
);
files.set("12-megapixel JPEG", await photo(4000, 3000));

const pixelsMax = 50_000_000;
await using pool = await ImagePool.start({
  size,
  pixelsMax,
  count: 2,
  waitingMax: 1,
  events: createEvents(processEvents),
});
const { signal } = new AbortController();
const at = (part: number) => (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(part * values.length)];
const summary = (values: number[]) => [0, 0.5].map((part) => at(part)(values)?.toFixed(2)).join(" / ");

console.log(`load ${loadavg()[0]?.toFixed(1)}, node ${process.version}, ${rounds} rounds, ms as least / median`);
console.log("| file | KB | here | pool | boundary | ratio of the least |\n| --- | --- | --- | --- | --- | --- |");
for (const [name, file] of files) {
  const [here, there, boundary]: [number[], number[], number[]] = [[], [], []];
  for (let round = -5; round < rounds; round++) {
    const began = performance.now();
    await prepareImage(file, { autoOrient: true, pixelsMax, size });
    const between = performance.now();
    const { preprocessMs } = await pool.prepare(file, { ignoreOrientation: false }, signal);
    const end = performance.now();
    // The first rounds compile.
    if (round < 0) continue;
    here.push(between - began);
    there.push(end - between);
    // What was not opening the image: the file's way there and the pixels' way back.
    boundary.push(end - between - preprocessMs);
  }
  const ratio = (at(0)(there) as number) / (at(0)(here) as number);
  const cells = [
    name,
    (file.length / 1000).toFixed(0),
    summary(here),
    summary(there),
    summary(boundary),
    ratio.toFixed(2),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

/** A JPEG of as many bytes as a camera's: a smooth image with noise. */
async function photo(width: number, height: number): Promise<Uint8Array> {
  let state = 1;
  const rgb = new Uint8Array(width * height * 3).map((_, index) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return ((index >> 8) & 0xc0) + (state >>> 28);
  });
  const image = sharp(rgb, { raw: { width, height, channels: 3 } });
  return new Uint8Array(await image.jpeg({ quality: 90 }).toBuffer());
}

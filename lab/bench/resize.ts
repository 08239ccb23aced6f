/**
 * The Pillow-exact resize against sharp's cubic one, on the same decoded pixels, in turns within one run.
 * Usage: node lab/bench/resize.ts [rounds]
 */
import { cpus } from "node:os";
import sharp from "sharp";
import { resizeBicubic, type Size } from "../../packages/model/src/image/resize.ts";

const rounds = Number(process.argv[2] ?? 30);
const size = 768;
const sources: Size[] = [
  { width: 1920, height: 1080 },
  { width: 4000, height: 3000 },
  { width: 3000, height: 4000 },
  { width: 640, height: 480 },
  { width: 768, height: 768 },
];

/** A smooth image with some noise: what the pixels are changes no timing here. */
function image({ width, height }: Size): Uint8Array {
  let state = 1;
  return new Uint8Array(width * height * 3).map((_, index) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return ((index >> 6) & 0xe0) + (state >>> 27);
  });
}

const quantile = (sorted: number[], part: number) => sorted[Math.floor((sorted.length - 1) * part)] as number;

function summary(milliseconds: number[]): { p50: number; text: string } {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  const [least, p50, p90] = [0, 0.5, 0.9].map((part) => quantile(sorted, part)) as [number, number, number];
  return { p50, text: `${least.toFixed(2)} / ${p50.toFixed(2)} / ${p90.toFixed(2)}` };
}

// One thread on either side.
sharp.concurrency(1);
console.log(`${cpus()[0]?.model}, node ${process.version}, ${rounds} rounds; ms as least / p50 / p90`);
for (const from of sources) {
  const rgb = image(from);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = -3; round < rounds; round++) {
    const start = performance.now();
    resizeBicubic(rgb, from, { width: size, height: size });
    const between = performance.now();
    await sharp(rgb, { raw: { ...from, channels: 3 } })
      .resize(size, size, { kernel: "cubic", fit: "fill" })
      .raw()
      .toBuffer();
    const end = performance.now();
    // The first rounds compile.
    if (round < 0) continue;
    ours.push(between - start);
    theirs.push(end - between);
  }
  const [own, other] = [summary(ours), summary(theirs)];
  const ratio = (other.p50 / own.p50).toFixed(2);
  console.log(`${from.width}x${from.height} -> ${size}: ${own.text}, sharp ${other.text}, sharp / ours ${ratio}`);
}

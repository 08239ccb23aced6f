/**
 * What the walk over an image's structure costs beside its decode, and beside sharp's metadata(), which it replaces.
 * Usage: node lab/bench/images.ts [FILE ...]      (without files: the drawn world's images and 12 megapixels as JPEG)
 */
import { readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename } from "node:path";
import sharp from "sharp";
import { decodeImage } from "../../packages/model/src/image/decode.ts";
import { withJoined } from "../../packages/model/src/image/join.ts";
import { imageTypeOf } from "../../packages/model/src/image/type.ts";
import { type WalkedType, walk } from "../../packages/model/src/image/walk.ts";

const rounds = 30;

/** A photograph's size, detail and metadata: noise on gradients, with an EXIF block of the largest kind. */
async function photographs(): Promise<[name: string, bytes: Uint8Array][]> {
  const raw = { width: 4000, height: 3000, channels: 3 } as const;
  let state = 1;
  const pixels = new Uint8Array(4000 * 3000 * 3).map((_, index) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (((index >> 6) & 0xe0) + (state >>> 28)) & 255;
  });
  const exif = { IFD0: { ImageDescription: "x".repeat(40_000) } };
  const written = [false, true].map(async (progressive): Promise<[string, Uint8Array]> => {
    const image = sharp(pixels, { raw }).withExif(exif).jpeg({ quality: 90, progressive });
    return [`12-megapixel${progressive ? "-progressive" : ""}.jpg`, await image.toBuffer()];
  });
  return Promise.all(written);
}

function drawn(): [name: string, bytes: Uint8Array][] {
  const folder = new URL("../../test/fixtures/drawn/", import.meta.url);
  return readdirSync(folder)
    .filter((name) => /\.(png|jpg)$/.test(name))
    .slice(0, 20)
    .map((name) => [name, readFileSync(new URL(name, folder))]);
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

async function timed(work: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let round = -5; round < rounds; round++) {
    const began = performance.now();
    await work();
    // The first rounds compile.
    if (round >= 0) times.push(performance.now() - began);
  }
  return median(times);
}

const named = process.argv.slice(2).map((path): [string, Uint8Array] => [basename(path), readFileSync(path)]);
const files = named.length > 0 ? named : [...drawn(), ...(await photographs())];
console.log(`${cpus()[0]?.model}, node ${process.version}; median ms of ${rounds} rounds`);
console.log("file                              bytes     walk   joined  metadata()   decode");
for (const [name, bytes] of files) {
  const type = imageTypeOf(bytes);
  if (type === undefined || type === "gif" || type === "bmp") continue;
  const walked = await timed(() => walk(type as WalkedType, bytes));
  const joined = await timed(() => withJoined(walk(type as WalkedType, bytes).parts, async () => {}));
  const metadata = await timed(() => sharp(bytes).metadata());
  const decode = await timed(() => decodeImage(bytes, { autoOrient: true }));
  const columns = [walked.toFixed(3), joined.toFixed(3), metadata.toFixed(3), decode.toFixed(1)];
  console.log(name.padEnd(30), String(bytes.length).padStart(8), ...columns.map((column) => column.padStart(9)));
}

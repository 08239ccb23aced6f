/**
 * Changes image files where their structure is and walks over them: nothing may be thrown but a ModelError, and no file
 * may take long. GIF and BMP, whose readers are our own, are decoded too.
 * Usage: node lab/images/fuzz.ts FOLDER [SECONDS] [SEED]      (FOLDER: images, such as make-corpus.py writes)
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ModelError } from "../../packages/model/src/errors.ts";
import { bmpHeader, decodeBmp } from "../../packages/model/src/image/formats/bmp.ts";
import { decodeGif, gifHeader } from "../../packages/model/src/image/formats/gif.ts";
import { imageTypeOf } from "../../packages/model/src/image/type.ts";
import { walk } from "../../packages/model/src/image/walk.ts";

const [folder, seconds = "60", seed = "1"] = process.argv.slice(2);
if (folder === undefined) throw new Error("Usage: node lab/images/fuzz.ts FOLDER [SECONDS] [SEED]");
// What a header walk may take at the most; the machine may be busy with something else, so the best of six tries counts.
const slowMs = 100;
const files = readdirSync(folder).map((name) => new Uint8Array(readFileSync(join(folder, name))));

let state = Number(seed);
function below(limit: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
}

// Numbers at the edges of what a field can hold: where lengths, counts and offsets break.
const edges = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];
const pick = <T>(from: readonly T[]) => from[below(from.length)] as T;

/** One to eight changes: bytes, fields of an edge's value in either order, and pieces cut, doubled or taken elsewhere. */
function changed(file: Uint8Array): Uint8Array {
  let bytes = Buffer.from(file);
  for (let change = below(8); change >= 0 && bytes.length > 16; change--) {
    const at = 4 + below((below(3) === 0 ? bytes.length : Math.min(bytes.length, 400)) - 12);
    const length = 1 + below(Math.min(64, bytes.length - at - 8));
    const kind = below(8);
    if (kind === 0) bytes[at] = below(256);
    else if (kind === 1) bytes.writeUInt32BE(pick(edges), at);
    else if (kind === 2) bytes.writeUInt32LE(pick(edges), at);
    else if (kind === 3) bytes.writeUInt16BE(pick(edges) & 0xffff, at);
    else if (kind === 4) bytes.writeUInt16LE(pick(edges) & 0xffff, at);
    else if (kind === 5) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    else if (kind === 6) bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    else {
      const other = pick(files);
      const from = below(other.length);
      bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + length), bytes.subarray(at)]);
    }
  }
  return bytes;
}

/** The pixels of a header that is read on, so that a large image is not taken for a slow walk. */
const pixelsMax = 1_000_000;

function read(bytes: Uint8Array): string {
  const type = imageTypeOf(bytes);
  if (type === undefined) return "unknown";
  try {
    if (type === "bmp") {
      const header = bmpHeader(bytes);
      if (header.width * header.height <= pixelsMax) decodeBmp(bytes, header);
    } else if (type === "gif") {
      const header = gifHeader(bytes);
      if (header.width * header.height <= pixelsMax) decodeGif(bytes, header, undefined);
    } else walk(type, bytes);
    return `${type} read`;
  } catch (error) {
    if (error instanceof ModelError) return `${type} refused`;
    throw error;
  }
}

const counts = new Map<string, number>();
const until = performance.now() + Number(seconds) * 1000;
let [slowest, slowestAnswer, found] = [0, "", 0];
while (performance.now() < until) {
  const bytes = changed(pick(files));
  const began = performance.now();
  try {
    const answer = read(bytes);
    counts.set(answer, (counts.get(answer) ?? 0) + 1);
    let took = performance.now() - began;
    for (let tries = 0; took > slowMs && tries < 5; tries++) {
      const again = performance.now();
      read(bytes);
      took = Math.min(took, performance.now() - again);
    }
    if (took > slowest) [slowest, slowestAnswer] = [took, answer];
    if (took > slowMs) throw new Error(`It took ${took.toFixed(0)} ms.`);
  } catch (error) {
    const path = join(tmpdir(), `florence-fuzz-${seed}-${found++}`);
    writeFileSync(path, bytes);
    console.log(`${path}: ${error instanceof Error ? error.stack : error}`);
    if (found >= 10) break;
  }
}
for (const [answer, count] of [...counts].toSorted()) console.log(answer.padEnd(14), count);
console.log(`${found} findings; the slowest (${slowestAnswer}) took ${slowest.toFixed(1)} ms`);

/**
 * Compares what is decoded here with what Pillow decoded, byte for byte, over a corpus that make-corpus.py wrote.
 * Usage: node lab/images/compare.ts FOLDER
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DecodedImage, decodeImage, ModelError } from "@florence/model";

interface Entry {
  file: string;
  mode?: string;
  stored?: [width: number, height: number];
  upright?: [width: number, height: number];
  error?: string;
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("Usage: node lab/images/compare.ts FOLDER");
const entries = JSON.parse(readFileSync(join(folder, "reference.json"), "utf8")) as Entry[];

/** The largest difference of a channel, and the share of channels that differ. */
function difference(ours: Uint8Array, theirs: Uint8Array): string {
  let [most, count] = [0, 0];
  for (const [at, value] of ours.entries()) {
    const by = Math.abs(value - (theirs[at] as number));
    if (by > 0) count++;
    most = Math.max(most, by);
  }
  return `up to ${most} levels in ${((100 * count) / ours.length).toFixed(1)} % of the channels`;
}

async function compared({ file, stored, upright, error }: Entry): Promise<string | undefined> {
  const bytes = new Uint8Array(readFileSync(join(folder as string, "files", file)));
  for (const [label, size] of [
    ["stored", stored],
    ["upright", upright],
  ] as const) {
    let image: DecodedImage;
    try {
      image = await decodeImage(bytes, { autoOrient: label === "upright" });
    } catch (failure) {
      if (!(failure instanceof ModelError)) return `threw ${failure}`;
      return error === undefined ? `refused here: ${failure.message}` : undefined;
    }
    if (size === undefined) return `read here; Pillow: ${error}`;
    if (image.width !== size[0] || image.height !== size[1])
      return `${label}: ${image.width}x${image.height}, not ${size}`;
    const theirs = readFileSync(join(folder as string, "reference", `${file}.${label}.rgb`));
    const said = image.warnings.map(({ code }) => code).join(", ");
    if (theirs.compare(image.rgb) !== 0) return `${label}: ${difference(image.rgb, theirs)} (${said || "no warning"})`;
  }
  return undefined;
}

const counts = new Map<string, { equal: number; different: string[] }>();
for (const entry of entries) {
  const format = entry.file.split("-", 1)[0] as string;
  const count = counts.get(format) ?? { equal: 0, different: [] };
  counts.set(format, count);
  const found = await compared(entry);
  if (found === undefined) count.equal++;
  else count.different.push(`${entry.file} [${entry.mode ?? "-"}]: ${found}`);
}
console.log("| format | files | equal | different |\n| --- | ---: | ---: | ---: |");
for (const [format, { equal, different }] of counts) {
  console.log(`| ${format} | ${equal + different.length} | ${equal} | ${different.length} |`);
}
for (const { different } of counts.values()) for (const line of different) console.log(line);

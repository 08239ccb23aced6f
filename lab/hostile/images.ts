// What hostile image files cost the others:
//   node lab/hostile/images.ts [CHECKPOINT]
// One server, all in one process, takes every file of test/support/hostile-images.ts, one after the other and then all at once, while an
// honest caller sends one new image after the other. Prints a Markdown table: the answer, how long the honest caller waited meanwhile, and
// the most memory that the server's processes took together.
import { readdirSync, readFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { startChild } from "../../test/support/child.ts";
import { hostileImages } from "../../test/support/hostile-images.ts";

const checkpoint = process.argv[2] ?? fileURLToPath(new URL("../../models/florence-2-drawn", import.meta.url));
const env = {
  FLORENCE_MODEL: checkpoint,
  FLORENCE_CACHE: join(tmpdir(), "florence-hostile"),
  FLORENCE_LOG_LEVEL: "fatal",
};
const query = "task=caption&num_beams=1&max_new_tokens=8";
const MiB = 1024 * 1024;
// Between two honest calls: one caller, not a load test.
const pauseMs = 30;
const undisturbedCalls = 100;
// For each file the honest caller goes on at least so often, so that there is something to take a p99 of.
const callsBeside = 12;

await using server = await startChild("apps/cli/src/main.ts", ["serve", "--port", "0"], env);
const url = `http://${server.address}/v1/annotate?${query}`;

async function send(file: Uint8Array<ArrayBuffer>): Promise<string> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: file,
  });
  const { code } = (await response.json()) as { code?: string };
  return code === undefined ? String(response.status) : `${response.status} ${code}`;
}

let seed = 0;
/** A small image that nobody has sent before; how long its answer took, in milliseconds. */
async function honest(): Promise<number> {
  const rgb = Buffer.alloc(640 * 480 * 3, 90);
  rgb.writeUInt32LE(++seed, 0);
  const image = await sharp(rgb, { raw: { width: 640, height: 480, channels: 3 } })
    .png()
    .toBuffer();
  const began = performance.now();
  const answer = await send(new Uint8Array(image));
  if (answer !== "200") throw new Error(`An honest call was answered with ${answer}.`);
  const tookMs = performance.now() - began;
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
  return tookMs;
}

/** Pages of a process and of those that it started, shared ones by parts, as a pod's limit counts them. */
function treeBytes(): number {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? read(`/proc/${name}/stat`) : "";
    const parent = / [A-Z] (\d+)/.exec(stat.slice(stat.lastIndexOf(")")))?.[1];
    if (parent) parents.set(Number(name), Number(parent));
  }
  const within = (pid: number): boolean =>
    pid === server.pid || (parents.has(pid) && within(parents.get(pid) as number));
  const kilobytes = [...parents.keys()]
    .filter(within)
    .map((pid) => Number(/Pss:\s+(\d+)/.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0));
  return kilobytes.reduce((sum, kB) => sum + kB * 1024, 0);
}
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It has ended.
  }
}

const at = (part: number, values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.ceil(part * values.length) - 1] as number;

interface Seen {
  readonly answer: string;
  readonly tookMs: number;
  readonly others: readonly number[];
  readonly peakBytes: number;
}
/** Does something hostile with an honest caller beside it. */
async function beside(hostile: () => Promise<string>): Promise<Seen> {
  let peakBytes = 0;
  const watch = setInterval(() => {
    peakBytes = Math.max(peakBytes, treeBytes());
  }, 50);
  let over = false;
  const began = performance.now();
  let tookMs = 0;
  const answer = hostile().finally(() => {
    over = true;
    tookMs = performance.now() - began;
  });
  const others: number[] = [];
  while (!over || others.length < callsBeside) others.push(await honest());
  clearInterval(watch);
  return { answer: await answer, tookMs, others, peakBytes };
}

for (let i = 0; i < 10; i++) await honest();
const files = await Promise.all(hostileImages.map(async ({ make }) => new Uint8Array(await make())));
const row = (cells: readonly (string | number)[]) => console.log(`| ${cells.join(" | ")} |`);
const cellsOf = ({ answer, tookMs, others, peakBytes }: Seen) => [
  answer,
  tookMs.toFixed(0),
  others.length,
  at(0.5, others).toFixed(0),
  at(0.99, others).toFixed(0),
  (peakBytes / MiB).toFixed(0),
];

console.log(`${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)} at the start, node ${process.version}\n`);
row(["kind", "variant", "KB", "answer", "ms", "others", "their p50, ms", "their p99, ms", "peak, MiB"]);
row(Array.from({ length: 9 }, () => "---"));
const alone = await beside(async () => {
  await new Promise((resolve) => setTimeout(resolve, undisturbedCalls * pauseMs * 2));
  return "";
});
row(["undisturbed", "", "", ...cellsOf(alone)]);
const all: number[] = [];
for (const [i, { kind, variant }] of hostileImages.entries()) {
  const file = files[i] as Uint8Array<ArrayBuffer>;
  const seen = await beside(() => send(file));
  all.push(...seen.others);
  row([kind, variant, (file.length / 1000).toFixed(0), ...cellsOf(seen)]);
}
const again = await beside(async () => {
  await new Promise((resolve) => setTimeout(resolve, undisturbedCalls * pauseMs * 2));
  return "";
});
row(["undisturbed again", "", "", ...cellsOf(again)]);
// Other files than before: one byte more, behind their end.
const together = await beside(async () => {
  const answers = await Promise.all(files.map((file) => send(Buffer.concat([file, Buffer.alloc(1)]))));
  return `${answers.filter((answer) => answer.startsWith("200")).length} of ${answers.length} answered 200, ${answers.filter((answer) => answer.startsWith("429")).length} told to come again`;
});
row(["all at once", "", "", ...cellsOf(together)]);
console.log(
  `\nBeside one at a time the others' p50 is ${at(0.5, all).toFixed(0)} ms and their p99 ${at(0.99, all).toFixed(0)} ms,`,
);
console.log(
  `undisturbed ${at(0.5, [...alone.others, ...again.others]).toFixed(0)} and ${at(0.99, [...alone.others, ...again.others]).toFixed(0)} ms.`,
);
console.log(
  `The server ${(await fetch(`http://${server.address}/readyz`)).ok ? "is ready, the same process as at the start" : "is NOT ready"}.`,
);

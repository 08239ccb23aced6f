// What reuse and batching are worth, as ratios from one run:
//   node lab/bench/serving.ts [CHECKPOINT] [--precision P] [--tokens 24]
// The same processes answer the same questions twice: as they are, and with reuse and batching switched off. Off means that no image
// comes twice (each differs in one pixel, so each is encoded), one task a call, and a decoder that takes one call at a time.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startTopology, type Topology } from "@florence/cli/topology";
import { type Precision, prepareModel } from "@florence/model";
import sharp from "sharp";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { precision: { type: "string", default: "fp32" }, tokens: { type: "string", default: "24" } },
});
const checkpoint = positionals[0] ?? fileURLToPath(new URL("../../models/florence-2-drawn", import.meta.url));
const tasks = [
  "caption",
  "detailed_caption",
  "more_detailed_caption",
  "object_detection",
  "dense_region_caption",
  "region_proposal",
  "ocr",
  "ocr_with_region",
];
const query = `num_beams=1&max_new_tokens=${values.tokens}`;
const work = mkdtempSync(join(tmpdir(), "florence-serving-"));

try {
  const { folder } = await prepareModel(checkpoint, {
    cacheFolder: join(work, "cache"),
    precision: values.precision as Precision,
  });
  const on = await withServer(folder, {}, async (url) => ({
    eight: await timed(() => ask(url, 1, tasks)),
    // Four times each of eight images, all at once.
    many: await timed(() =>
      Promise.all(Array.from({ length: 32 }, (_, i) => ask(url, 100 + (i % 8), [tasks[i % tasks.length] as string]))),
    ),
  }));
  const off = await withServer(
    folder,
    { FLORENCE_DECODER_REQUESTS_MAX: "1", FLORENCE_ENCODER_BATCH_MAX: "1" },
    async (url) => ({
      eight: await timed(async () => {
        for (const [i, task] of tasks.entries()) await ask(url, 1000 + i, [task]);
      }),
      many: await timed(async () => {
        for (let i = 0; i < 32; i++) await ask(url, 2000 + i, [tasks[i % tasks.length] as string]);
      }),
    }),
  );
  console.log("| | on, s | off, s | ratio |\n| --- | --- | --- | --- |");
  console.log(
    `| 8 tasks on one image | ${on.eight.toFixed(2)} | ${off.eight.toFixed(2)} | ${(off.eight / on.eight).toFixed(1)} |`,
  );
  console.log(
    `| 32 requests over 8 images | ${on.many.toFixed(2)} | ${off.many.toFixed(2)} | ${(off.many / on.many).toFixed(1)} |`,
  );
} finally {
  rmSync(work, { recursive: true, force: true });
}

async function withServer<T>(model: string, env: Record<string, string>, run: (url: string) => Promise<T>): Promise<T> {
  const limits = { FLORENCE_DEADLINE_MS: "600000", FLORENCE_LOG_LEVEL: "fatal" };
  await using topology: Topology = await startTopology({
    gateways: 1,
    encoders: 1,
    decoders: 1,
    model,
    cache: join(work, "cache"),
    env: { ...limits, ...env },
  });
  const url = topology.gateways[0]?.address as string;
  await ask(url, 1, ["caption"]); // warm: the first run of a graph allocates
  await ask(url, 999_999, ["caption"]);
  return await run(url); // awaited here, before the processes end
}

async function ask(url: string, seed: number, names: readonly string[]): Promise<void> {
  const list = names.map((name) => `task=${name}`).join("&");
  const response = await fetch(`${url}/v1/annotate?${list}&${query}`, {
    method: "POST",
    headers: { "content-type": "image/png" },
    body: await image(seed),
  });
  const { results } = (await response.json()) as { results?: { error?: unknown }[] };
  if (!response.ok || results?.some((r) => r.error)) throw new Error(`the server answered ${response.status}`);
}

/** An image that no other seed gives. */
async function image(seed: number): Promise<Uint8Array<ArrayBuffer>> {
  const rgb = Buffer.alloc(320 * 240 * 3, 90);
  for (let i = 0; i < 3000; i++) rgb[(i * 7919 * (1 + (seed % 13))) % rgb.length] = (i * 31) % 256;
  rgb.writeUInt32LE(seed, 0);
  return new Uint8Array(
    await sharp(rgb, { raw: { width: 320, height: 240, channels: 3 } })
      .png()
      .toBuffer(),
  );
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  return (performance.now() - began) / 1000;
}

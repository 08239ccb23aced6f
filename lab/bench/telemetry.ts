// What telemetry costs, as ratios of one run:
//   node lab/bench/telemetry.ts [--rounds 12] [--against CHECKOUT]
// A gateway, an encoder and a decoder each, with telemetry off, with 1 % and with 100 % of traces kept (metrics by Prometheus and OTLP in
// both), take turns at the same questions about one image, so that what else the machine does falls on all of them. The same without
// telemetry in the code: another checkout of this repository, built and installed, in --against.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { startTopology, type Topology } from "@florence/cli/topology";
import { prepareModel } from "@florence/model";
import { drawImage } from "../../test/support/cluster.ts";
import { startOtlpReceiver } from "../../test/support/otlp.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "12" }, against: { type: "string" } } });
const [concurrency, callsPerRound] = [4, 40];
const checkpoint = resolve(import.meta.dirname, "../../models/florence-2-drawn");

const work = mkdtempSync(join(tmpdir(), "florence-telemetry-bench-"));
await using resources = new AsyncDisposableStack();
resources.defer(() => rmSync(work, { recursive: true, force: true }));
const otlp = resources.use(await startOtlpReceiver());
const { folder: model } = await prepareModel(checkpoint, { cacheFolder: join(work, "cache") });

const on = (share: string) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
  OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
  OTEL_TRACES_SAMPLER_ARG: share,
  FLORENCE_METRICS_PORT: "0",
});
type Start = typeof startTopology;
const other =
  values.against && ((await import(resolve(values.against, "apps/cli/src/topology.ts"))) as { startTopology: Start });
const variants: { name: string; start: Start; env: Record<string, string> }[] = [
  { name: "off", start: startTopology, env: {} },
  { name: "off, again", start: startTopology, env: {} },
  { name: "1 % kept", start: startTopology, env: on("0.01") },
  { name: "100 % kept", start: startTopology, env: on("1") },
  ...(other ? [{ name: "without it in the code", start: other.startTopology, env: {} }] : []),
];

const image = await drawImage(1);
const running: { name: string; url: string; perSecond: number[]; p50: number[] }[] = [];
for (const { name, start, env } of variants) {
  const topology: Topology = resources.use(
    await start({
      gateways: 1,
      encoders: 1,
      decoders: 1,
      model,
      cache: join(work, "cache"),
      env: { FLORENCE_LOG_LEVEL: "fatal", FLORENCE_ENCODER_THREADS: "1", FLORENCE_DECODER_THREADS: "1", ...env },
    }),
  );
  running.push({ name, url: topology.gateways[0]?.address as string, perSecond: [], p50: [] });
}
for (const { url } of running) await round(url); // warm: code is compiled, graphs have allocated
for (let i = 0; i < Number(values.rounds); i++) {
  // In another order each time: who follows whom should not matter.
  for (const of of running.toSorted(() => Math.random() - 0.5)) {
    const { perSecond, p50 } = await round(of.url);
    of.perSecond.push(perSecond);
    of.p50.push(p50);
  }
}
const [off] = running as [(typeof running)[number]];
console.log(
  `${values.rounds} rounds of ${callsPerRound} calls, ${concurrency} at a time; ${otlp.spans.length} spans came\n`,
);
console.log("| telemetry | calls a second | ratio to off | p50, ms | ratio to off |\n| --- | --- | --- | --- | --- |");
for (const { name, perSecond, p50 } of running) {
  const row = [
    median(perSecond).toFixed(1),
    ratio(perSecond, off.perSecond),
    median(p50).toFixed(1),
    ratio(p50, off.p50),
  ];
  console.log(`| ${[name, ...row].join(" | ")} |`);
}

async function round(url: string): Promise<{ perSecond: number; p50: number }> {
  const times: number[] = [];
  let left = callsPerRound;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left-- > 0) {
        const at = performance.now();
        const response = await fetch(`${url}/v1/annotate?task=caption&num_beams=1&max_new_tokens=12`, {
          method: "POST",
          headers: { "content-type": "image/png" },
          body: image,
        });
        await response.text();
        if (!response.ok) throw new Error(`the server answered ${response.status}`);
        times.push(performance.now() - at);
      }
    }),
  );
  return { perSecond: (1000 * times.length) / (performance.now() - began), p50: median(times) };
}

/** The median of the rounds' ratios, with their quartiles: the rounds of one number ran next to each other. */
function ratio(values: readonly number[], base: readonly number[]): string {
  const ratios = values.map((value, i) => value / (base[i] as number)).toSorted((a, b) => a - b);
  const at = (share: number) => (ratios[Math.round(share * (ratios.length - 1))] as number).toFixed(3);
  return `${at(0.5)} (${at(0.25)} to ${at(0.75)})`;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] as number;
}

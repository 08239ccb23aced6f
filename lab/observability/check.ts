// Shows telemetry to the programs that it is for:
//   node lab/observability/check.ts [--collector]
// Two gateways, encoders and decoders and a NATS server answer some calls. Prometheus scrapes all of them, evaluates every query of every
// dashboard and every alert, and promtool makes each alert fire. With --collector, traces and metrics go through OpenTelemetry's own
// collector, built from Go modules, and the trace of one call is drawn as it comes out of that.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs, promisify } from "node:util";
import { drawImage, startCluster } from "../../test/support/cluster.ts";
import { alerts, alertTestsYaml } from "../../test/support/observability/alerts.ts";
import { dashboards } from "../../test/support/observability/dashboards.ts";
import { drawTrace, startOtlpReceiver } from "../../test/support/otlp.ts";
import { buildCollector, findPrometheus, freePort, type Running, startProgram } from "./programs.ts";

const { values: flags } = parseArgs({ options: { collector: { type: "boolean", default: false } } });
const alertsFile = resolve(import.meta.dirname, "../../deploy/observability/alerts.yaml");
const run = promisify(execFile);

const work = mkdtempSync(join(tmpdir(), "florence-observability-"));
await using resources = new AsyncDisposableStack();
resources.defer(() => rmSync(work, { recursive: true, force: true }));
const { prometheus, promtool } = await findPrometheus();

// The rules alone.
console.log((await run(promtool, ["check", "rules", alertsFile])).stdout.trim());
const testsFile = join(work, "tests.yaml");
writeFileSync(testsFile, alertTestsYaml(alertsFile));
console.log((await run(promtool, ["test", "rules", testsFile])).stdout.trim());
console.log(`${alerts.length} alerts, each made to fire\n`);

// The system, and where it tells.
const otlp = resources.use(await startOtlpReceiver());
const endpoint = flags.collector ? `http://${resources.use(await startCollector(otlp.url)).address}` : otlp.url;
const targets: { job: string; target: string }[] = [];
const hear = (name: string, text: string) => {
  for (const [, target = ""] of text.matchAll(/"url":"http:\/\/([^"/]+)\/metrics"/g)) {
    targets.push({ job: `florence-${name.replace(/-\d+$/, "")}`, target });
  }
};
const cluster = resources.use(
  await startCluster({
    gateways: 2,
    encoders: 2,
    decoders: 2,
    onLog: hear,
    env: {
      FLORENCE_LOG_LEVEL: "info",
      FLORENCE_METRICS_PORT: "0",
      FLORENCE_NATS_READ_MS_MAX: "3000",
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_BSP_SCHEDULE_DELAY: "200",
      OTEL_METRIC_EXPORT_INTERVAL: "1000",
    },
  }),
);
const server = resources.use(await startPrometheus());

const traceIds: string[] = [];
for (let i = 0; i < 40; i++) {
  const traceId = crypto.randomUUID().replaceAll("-", "");
  traceIds.push(traceId);
  const stream = i % 4 === 3 ? { accept: "text/event-stream" } : {};
  const response = await fetch(
    `${cluster.urls[i % 2]}/v1/annotate?task=caption&task=ocr&num_beams=1&max_new_tokens=20`,
    {
      method: "POST",
      headers: { "content-type": "image/png", traceparent: `00-${traceId}-00f067aa0ba902b7-01`, ...stream },
      body: await drawImage(1 + (i % 10)),
    },
  );
  await response.text();
}
const first = traceIds[0] as string;
await new Promise((done) => setTimeout(done, 5_000)); // Some more scrapes, and what is exported later.
const spans = otlp.spans.filter(({ traceId }) => traceId === first);
console.log(
  `${otlp.spans.length} spans came ${flags.collector ? "through the collector" : "by OTLP"}; the first call:\n`,
);
console.log(`${drawTrace(spans)}\n`);

// What Prometheus makes of it.
const up = (await query("up")).length;
console.log(`${up} of ${targets.length} processes scraped\n`);
let [failed, empty] = [0, 0];
for (const { name, panels } of dashboards) {
  for (const { title, queries } of panels) {
    for (const expr of Object.values(queries)) {
      const series = await query(expr.replaceAll("$__rate_interval", "1m")).catch((error: Error) => error);
      if (series instanceof Error) failed++;
      else if (series.length === 0) empty++;
      if (series instanceof Error || series.length === 0)
        console.log(`${name}: ${title}: ${series instanceof Error ? series.message : "no series"}`);
    }
  }
}
const count = dashboards.reduce(
  (n, { panels }) => n + panels.reduce((m, { queries }) => m + Object.keys(queries).length, 0),
  0,
);
console.log(`\n${count} queries of dashboards: ${failed} fail, ${empty} have no series here`);
const groups = (await api("rules")) as { groups: { rules: { name: string; health: string; lastError?: string }[] }[] };
const rules = groups.groups.flatMap((group) => group.rules);
const sick = rules.filter(({ health, lastError }) => health !== "ok" || lastError);
console.log(`${rules.length} alerts evaluated: ${sick.length === 0 ? "all well" : JSON.stringify(sick)}`);
if (failed > 0 || sick.length > 0 || up < targets.length || targets.length < 6 || spans.length < 20)
  process.exitCode = 1;

async function api(path: string): Promise<unknown> {
  const response = await fetch(`http://${server.address}/api/v1/${path}`);
  const { status, data, error } = (await response.json()) as { status: string; data: unknown; error?: string };
  if (status !== "success") throw new Error(error);
  return data;
}

async function query(expr: string): Promise<unknown[]> {
  return ((await api(`query?query=${encodeURIComponent(expr)}`)) as { result: unknown[] }).result;
}

async function startPrometheus(): Promise<Running> {
  const jobs = Map.groupBy(targets, ({ job }) => job);
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [alertsFile],
    scrape_configs: [...jobs].map(([job_name, of]) => ({
      job_name,
      static_configs: [{ targets: of.map(({ target }) => target) }],
    })),
  };
  const file = join(work, "prometheus.yml");
  writeFileSync(file, JSON.stringify(config)); // YAML holds JSON.
  const port = await freePort();
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(work, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  return startProgram(prometheus, args, port);
}

async function startCollector(to: string): Promise<Running> {
  const port = await freePort();
  const pipeline = { receivers: ["otlp"], exporters: ["otlphttp"] };
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
    exporters: { otlphttp: { endpoint: to, compression: "none" } },
    service: { pipelines: { traces: pipeline, metrics: pipeline }, telemetry: { metrics: { level: "none" } } },
  };
  const file = join(work, "collector.yml");
  writeFileSync(file, JSON.stringify(config));
  return startProgram(await buildCollector(), [`--config=file:${file}`], port);
}

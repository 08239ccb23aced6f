import { stringify } from "yaml";
import { table } from "../markdown.ts";

/** An alert, why it matters, and what to do. */
export interface Alert {
  readonly name: string;
  readonly severity: "page" | "ticket";
  readonly expr: string;
  /** How long it must hold. */
  readonly for: string;
  readonly summary: string;
  /** What it means, where to look, what to do: a section of docs/runbook.md. */
  readonly runbook: string;
  /** Series, one value a minute, that make it fire after `firesAfter` minutes: its own test. */
  readonly fires: Readonly<Record<string, string>>;
  readonly firesAfter: number;
}

const p95 = (name: string) => `histogram_quantile(0.95, sum by (le) (rate(${name}_bucket[10m])))`;
// Calls that all take longer than `le` seconds.
const slow = (name: string, le: string, labels = "") => ({
  [`${name}_bucket{${labels}le="${le}"}`]: "0+0x60",
  [`${name}_bucket{${labels}le="+Inf"}`]: "0+60x60",
});

/** The alerts of deploy/observability/alerts.yaml. */
export const alerts: readonly Alert[] = [
  {
    name: "FlorenceErrors",
    severity: "page",
    expr: 'sum (rate(florence_request_duration_seconds_count{status="5xx"}[5m])) / sum (rate(florence_request_duration_seconds_count[5m])) > 0.05',
    for: "5m",
    summary: "More than 5 % of requests are answered with an error of ours.",
    runbook:
      "Look at _Refused and failed requests_ (dashboard errors) for the code. `unavailable`: an encoder or decoder is missing or restarting, see its own alerts. `deadline_exceeded`: the stages dashboard says which stage is slow. `internal`: the log of the service holds the error; filter by the `trace_id` of a failed request.",
    fires: {
      'florence_request_duration_seconds_count{status="5xx"}': "0+10x60",
      'florence_request_duration_seconds_count{status="2xx"}': "0+60x60",
    },
    firesAfter: 20,
  },
  {
    name: "FlorenceSlow",
    severity: "ticket",
    expr: 'histogram_quantile(0.95, sum by (le) (rate(florence_request_duration_seconds_bucket{route="/v1/annotate"}[10m]))) > 10',
    for: "10m",
    summary: "One request for annotations in twenty takes longer than 10 s.",
    runbook:
      "The stages dashboard says where the time goes. Waits: add encoders or decoders (the queue alerts say which). Decoding: long answers or many beams; `max_new_tokens` and `num_beams` of the slow requests are in their traces' spans as tokens.",
    fires: slow("florence_request_duration_seconds", "30", 'route="/v1/annotate",'),
    firesAfter: 40,
  },
  {
    name: "FlorenceEncoderQueue",
    severity: "ticket",
    expr: `${p95("florence_encoder_queue_wait_seconds")} > 1`,
    for: "10m",
    summary: "Images wait longer than a second in encoders.",
    runbook:
      "Add encoders; the gateways find them within the time in which names are resolved again. If _Images that needed no encoding_ (dashboard cache) fell at the same time, the store is the cause: see FlorenceNatsDown and FlorenceEmbeddingsLost.",
    fires: slow("florence_encoder_queue_wait_seconds", "5"),
    firesAfter: 40,
  },
  {
    name: "FlorenceDecoderQueue",
    severity: "ticket",
    expr: `${p95("florence_decoder_queue_wait_seconds")} > 1`,
    for: "10m",
    summary: "Calls or tasks wait longer than a second in decoders.",
    runbook:
      "Add decoders. If _KV slots used_ (dashboard saturation) is near 100 %, larger `FLORENCE_DECODER_KV_BYTES_MAX` helps where there is memory and the cores are not busy.",
    fires: slow("florence_decoder_queue_wait_seconds", "5"),
    firesAfter: 40,
  },
  {
    name: "FlorenceOverloaded",
    severity: "page",
    expr: 'sum (rate(florence_refusals_total{code="overloaded"}[5m])) > 0.1',
    for: "5m",
    summary: "Requests are refused because everything is taken.",
    runbook:
      "Callers get 429 and come back. See which queue is full (dashboard saturation) and add that service. A single caller that sends too much shows in the gateway's log by its request ids.",
    fires: { 'florence_refusals_total{code="overloaded"}': "0+60x60" },
    firesAfter: 20,
  },
  {
    name: "FlorenceNoPeer",
    severity: "page",
    expr: "florence_peers < 1",
    for: "1m",
    summary: "A gateway knows no {{ $labels.service }}.",
    runbook:
      "Its name resolves to nothing, or to addresses that are gone: check `FLORENCE_ENCODER` and `FLORENCE_DECODER`, the headless Services and their ready pods. The gateway's log has `name not resolved`.",
    fires: { 'florence_peers{service="encoder"}': "0x60" },
    firesAfter: 5,
  },
  {
    name: "FlorencePeersAvoided",
    severity: "ticket",
    expr: "sum by (service) (rate(florence_peers_avoided_total[10m])) > 0.05",
    for: "10m",
    summary: "A {{ $labels.service }} keeps being out of reach.",
    runbook:
      "A pod restarts over and over, or cannot be reached from the gateways: look at restarts, FlorenceWorkerCrashes and network policies. Retried calls cost latency, not errors, until the budget of second tries is used up.",
    fires: { 'florence_peers_avoided_total{service="decoder"}': "0+20x60" },
    firesAfter: 40,
  },
  {
    name: "FlorenceWorkerCrashes",
    severity: "page",
    expr: "sum by (worker) (increase(florence_worker_crashes_total[10m])) > 1",
    for: "0m",
    summary: "Workers of kind {{ $labels.worker }} fall.",
    runbook:
      "The service's log has `worker crashed` with the error. Out of memory: lower `FLORENCE_ENCODER_BATCH_MAX` or `FLORENCE_DECODER_KV_BYTES_MAX`, or raise the memory limit. Always the same image: keep it; it is a bug.",
    fires: { 'florence_worker_crashes_total{worker="vision"}': "0+1x60" },
    firesAfter: 20,
  },
  {
    name: "FlorenceImageProcesses",
    severity: "ticket",
    expr: "sum by (why) (increase(florence_image_processes_ended_total[10m])) > 10",
    for: "5m",
    summary: "Processes that decode images keep being ended: {{ $labels.why }}.",
    runbook:
      "Somebody sends images that take all the time or memory there is, or crash the decoder; each costs its own call only. The encoder's log says which call; keep the image of a crash, it is a bug of the library. `start`: the machine has no memory or processes left.",
    fires: { 'florence_image_processes_ended_total{why="crash"}': "0+5x60" },
    firesAfter: 30,
  },
  {
    name: "FlorenceNatsDown",
    severity: "ticket",
    expr: "florence_nats_connected == 0",
    for: "2m",
    summary: "A process has lost NATS.",
    runbook:
      "Answers stay right; images are encoded more often, and each encoder does it for itself. Check the NATS pods, their disks and the credentials; the log has `NATS is out of reach` with the reason. Expect FlorenceEncoderQueue to follow under load.",
    fires: { florence_nats_connected: "0x60" },
    firesAfter: 10,
  },
  {
    name: "FlorenceNatsWritesLost",
    severity: "ticket",
    expr: 'sum (rate(florence_nats_writes_total{result!="written"}[10m])) > 0.1',
    for: "10m",
    summary: "Embeddings do not reach NATS.",
    runbook:
      "`failed`: NATS refuses them (the bucket's limits, permissions). `dropped`: it is slower than the encoders; look at its disk and at _NATS, 95th percentile_ (dashboard stages).",
    fires: { 'florence_nats_writes_total{result="dropped"}': "0+60x60" },
    firesAfter: 40,
  },
  {
    name: "FlorenceEmbeddingsLost",
    severity: "ticket",
    expr: "sum (rate(florence_reencodings_total[10m])) / sum (rate(florence_request_duration_seconds_count[10m])) > 0.01",
    for: "10m",
    summary: "More than 1 % of images are encoded again under their tasks.",
    runbook:
      "Embeddings go before their tasks are done: the stores are too small for the load, or decoders cannot reach the holders. Raise `FLORENCE_ENCODER_STORE_BYTES_MAX` or the bucket's size; check _Where decoders found embeddings_ (dashboard cache).",
    fires: {
      florence_reencodings_total: "0+10x60",
      'florence_request_duration_seconds_count{status="2xx"}': "0+60x60",
    },
    firesAfter: 40,
  },
  {
    name: "FlorenceKvFull",
    severity: "ticket",
    expr: "sum (florence_decoder_kv_slots_used) / sum (florence_decoder_kv_slots) > 0.95",
    for: "10m",
    summary: "The decoders' batches are full.",
    runbook: "Further tasks wait. Add decoders, or give them more KV memory: see FlorenceDecoderQueue.",
    fires: { florence_decoder_kv_slots_used: "32x60", florence_decoder_kv_slots: "32x60" },
    firesAfter: 20,
  },
  {
    name: "FlorenceEventLoopBlocked",
    severity: "ticket",
    expr: 'florence_event_loop_delay_seconds{quantile="p99"} > 0.5',
    for: "5m",
    summary: "A process's main thread is late by half a second.",
    runbook:
      "Models run in threads of their own, so the main thread should be free: look for more threads than cores (`FLORENCE_ENCODER_THREADS`, `FLORENCE_DECODER_THREADS` against the CPU limit), and for throttling.",
    fires: { 'florence_event_loop_delay_seconds{quantile="p99"}': "1x60" },
    firesAfter: 10,
  },
  {
    name: "FlorenceDown",
    severity: "page",
    expr: 'up{job=~"florence.*"} == 0',
    for: "2m",
    summary: "{{ $labels.instance }} gives no metrics.",
    runbook:
      "The process is gone or hangs, or `FLORENCE_METRICS_PORT` is not reachable from Prometheus. Look at its pod and its last log lines.",
    fires: { 'up{job="florence-encoder",instance="a"}': "0x60" },
    firesAfter: 10,
  },
];

const runbookUrl = "docs/runbook.md";

/** The alerts as rules of Prometheus. */
export function alertsYaml(): string {
  const rules = alerts.map(({ name, severity, expr, for: duration, summary }) => ({
    alert: name,
    expr,
    for: duration,
    labels: { severity },
    annotations: { summary, runbook: `${runbookUrl}#${name.toLowerCase()}` },
  }));
  const head = "# Made from test/support/observability/alerts.ts by `npm run docs`; docs/runbook.md says what to do.\n";
  return head + stringify({ groups: [{ name: "florence", rules }] }, { lineWidth: 0 });
}

/** The rules' own test, for `promtool test rules`: each alert fires when its condition is there. */
export function alertTestsYaml(rulesFile: string): string {
  return stringify({
    rule_files: [rulesFile],
    evaluation_interval: "1m",
    tests: alerts.map(({ name, severity, fires, firesAfter }) => ({
      name,
      interval: "1m",
      input_series: Object.entries(fires).map(([series, values]) => ({ series, values })),
      promql_expr_test: [
        {
          expr: `count(ALERTS{alertname="${name}",alertstate="firing",severity="${severity}"})`,
          eval_time: `${firesAfter}m`,
          exp_samples: [{ labels: "{}", value: 1 }],
        },
      ],
    })),
  });
}

/** The text of docs/runbook.md. */
export function runbookDoc(): string {
  const sections = alerts.map(
    ({ name, severity, summary, expr, for: duration, runbook }) =>
      `## ${name}\n\n${plain(summary)} It fires when this holds for ${duration} (${severity}):\n\n    ${expr}\n\n${runbook}`,
  );
  return `# Runbook

What to do when an alert of \`deploy/observability/alerts.yaml\` fires. Both are made from \`test/support/observability/alerts.ts\` by \`npm run docs\`. The dashboards that are named are in \`deploy/observability/dashboards\`; what a metric means stands in [metrics.md](metrics.md).

${table(
  ["alert", "severity", "what it says"],
  alerts.map(({ name, severity, summary }) => [`[${name}](#${name.toLowerCase()})`, severity, plain(summary)]),
)}

${sections.join("\n\n")}
`;
}

/** A summary without Prometheus's templates. */
function plain(summary: string): string {
  return summary.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, "($1)");
}

/** What one panel shows: queries of Prometheus by the legends of their lines. */
export interface Panel {
  readonly title: string;
  /** Grafana's name of the unit. */
  readonly unit: "reqps" | "s" | "short" | "percentunit" | "bytes" | "Bps" | "ops";
  readonly queries: Readonly<Record<string, string>>;
}

export interface Dashboard {
  readonly name: string;
  readonly title: string;
  readonly panels: readonly Panel[];
}

const rate = (series: string, by = "") => `sum${by ? ` by (${by})` : ""} (rate(${series}[$__rate_interval]))`;
const share = (part: string, whole: string) =>
  `sum (rate(${part}[$__rate_interval])) / sum (rate(${whole}[$__rate_interval]))`;
const mean = (name: string, by = "") => `${rate(`${name}_sum`, by)} / ${rate(`${name}_count`, by)}`;

function quantile(q: number, name: string, { labels = "", by = "" } = {}): string {
  const within = labels ? `{${labels}}` : "";
  return `histogram_quantile(${q}, sum by (${["le", by].filter(Boolean).join(", ")}) (rate(${name}_bucket${within}[$__rate_interval])))`;
}

const spread = (name: string, labels = "") => ({
  p50: quantile(0.5, name, { labels }),
  p95: quantile(0.95, name, { labels }),
  p99: quantile(0.99, name, { labels }),
});

const requests = "florence_request_duration_seconds";

/** The dashboards that deploy/observability/dashboards holds. */
export const dashboards: readonly Dashboard[] = [
  {
    name: "overview",
    title: "Florence: overview",
    panels: [
      { title: "Requests, by status", unit: "reqps", queries: { "{{status}}": rate(`${requests}_count`, "status") } },
      {
        title: "Time of a request for annotations",
        unit: "s",
        queries: spread(requests, 'route="/v1/annotate"'),
      },
      {
        title: "Requests answered with an error of ours",
        unit: "percentunit",
        queries: { share: share(`${requests}_count{status="5xx"}`, `${requests}_count`) },
      },
      { title: "Requests being served", unit: "short", queries: { requests: "sum (florence_requests_running)" } },
      {
        title: "Tasks answered",
        unit: "ops",
        queries: { "{{task}}": rate('florence_tasks_total{result="answered"}', "task") },
      },
      {
        title: "Time to the first token of a stream",
        unit: "s",
        queries: spread("florence_time_to_first_token_seconds"),
      },
      { title: "Tokens generated", unit: "ops", queries: { tokens: rate("florence_output_tokens_total") } },
      {
        title: "Images, by how their embedding was come by",
        unit: "ops",
        queries: { "{{result}}": rate("florence_images_total", "result") },
      },
    ],
  },
  {
    name: "stages",
    title: "Florence: stages",
    panels: [
      { title: "Wait for a place in the gateway", unit: "s", queries: spread("florence_gateway_queue_wait_seconds") },
      { title: "Fetching an image by URL", unit: "s", queries: spread("florence_image_fetch_seconds") },
      { title: "Decoding an image", unit: "s", queries: spread("florence_image_decode_seconds") },
      {
        title: "Wait in an encoder, 95th percentile",
        unit: "s",
        queries: { "{{queue}}": quantile(0.95, "florence_encoder_queue_wait_seconds", { by: "queue" }) },
      },
      { title: "A run of the vision graph", unit: "s", queries: spread("florence_vision_seconds") },
      {
        title: "NATS, 95th percentile",
        unit: "s",
        queries: { "{{operation}}": quantile(0.95, "florence_nats_operation_seconds", { by: "operation" }) },
      },
      {
        title: "Wait in a decoder, 95th percentile",
        unit: "s",
        queries: { "{{queue}}": quantile(0.95, "florence_decoder_queue_wait_seconds", { by: "queue" }) },
      },
      { title: "A run of the prompt graph", unit: "s", queries: spread("florence_prompt_seconds") },
      {
        title: "Decoding an answer, 95th percentile",
        unit: "s",
        queries: { "{{task}}": quantile(0.95, "florence_decode_seconds", { by: "task" }) },
      },
      { title: "Time of a token", unit: "s", queries: spread("florence_time_per_output_token_seconds") },
      {
        title: "Calls between services, 95th percentile",
        unit: "s",
        queries: { "{{method}}": quantile(0.95, "florence_rpc_duration_seconds", { by: "method" }) },
      },
      { title: "What an encoded image costs", unit: "s", queries: spread("florence_encode_seconds") },
    ],
  },
  {
    name: "cache",
    title: "Florence: cache economics",
    panels: [
      {
        title: "Images that needed no encoding",
        unit: "percentunit",
        queries: { share: share("florence_encodings_saved_total", "florence_images_total") },
      },
      { title: "Encodings saved", unit: "ops", queries: { saved: rate("florence_encodings_saved_total") } },
      {
        title: "Seconds of encoding saved, a second",
        unit: "short",
        queries: { seconds: `${rate("florence_encodings_saved_total")} * (${mean("florence_encode_seconds")})` },
      },
      {
        title: "Lookups of embeddings",
        unit: "ops",
        queries: { "{{tier}} {{result}}": rate("florence_embedding_lookups_total", "tier, result") },
      },
      {
        title: "Where decoders found embeddings",
        unit: "ops",
        queries: { "{{source}}": rate("florence_embeddings_obtained_total", "source") },
      },
      {
        title: "Files known before they were decoded",
        unit: "ops",
        queries: { "{{result}}": rate("florence_alias_lookups_total", "result") },
      },
      {
        title: "Embeddings stored",
        unit: "Bps",
        queries: { "{{tier}}": rate("florence_embedding_stored_bytes_total", "tier") },
      },
      {
        title: "Embeddings forgotten",
        unit: "ops",
        queries: { "{{reason}}": rate("florence_embedding_evictions_total", "reason") },
      },
      {
        title: "Bytes through NATS",
        unit: "Bps",
        queries: { "{{direction}}": rate("florence_nats_bytes_total", "direction") },
      },
      {
        title: "Values written behind",
        unit: "ops",
        queries: { "{{result}}": rate("florence_nats_writes_total", "result") },
      },
      { title: "Leases", unit: "ops", queries: { "{{result}}": rate("florence_leases_total", "result") } },
      { title: "Wait for another encoder", unit: "s", queries: spread("florence_lease_wait_seconds") },
      {
        title: "Images encoded again under their tasks",
        unit: "ops",
        queries: { images: rate("florence_reencodings_total") },
      },
      {
        title: "Image files received",
        unit: "Bps",
        queries: { "{{source}}": rate("florence_image_bytes_total", "source") },
      },
    ],
  },
  {
    name: "saturation",
    title: "Florence: saturation",
    panels: [
      {
        title: "Images waiting",
        unit: "short",
        queries: { "{{queue}}": "sum by (queue) (florence_encoder_images_waiting)" },
      },
      { title: "Calls waiting in decoders", unit: "short", queries: { calls: "sum (florence_decoder_calls_waiting)" } },
      {
        title: "KV slots used",
        unit: "percentunit",
        queries: { used: "sum (florence_decoder_kv_slots_used) / sum (florence_decoder_kv_slots)" },
      },
      { title: "Sequences in the batch", unit: "short", queries: { sequences: "sum (florence_decoder_sequences)" } },
      { title: "KV cache", unit: "bytes", queries: { bytes: "sum (florence_decoder_kv_bytes)" } },
      { title: "Mean batch", unit: "short", queries: { "{{graph}}": mean("florence_batch_size", "graph") } },
      {
        title: "Padding of the prompt graph",
        unit: "percentunit",
        queries: {
          padding: share('florence_prompt_batch_tokens_total{kind="padding"}', "florence_prompt_batch_tokens_total"),
        },
      },
      { title: "Prompt tokens", unit: "ops", queries: { "{{task}}": rate("florence_prompt_tokens_total", "task") } },
      {
        title: "Event loop delay, 99th percentile",
        unit: "s",
        queries: { "{{job}} {{instance}}": 'florence_event_loop_delay_seconds{quantile="p99"}' },
      },
      { title: "Memory", unit: "bytes", queries: { "{{job}} {{instance}}": "florence_process_resident_bytes" } },
      {
        title: "Cores in use",
        unit: "short",
        queries: { "{{job}} {{instance}}": "rate(florence_process_cpu_seconds_total[$__rate_interval])" },
      },
      {
        title: "Loading a worker's model",
        unit: "s",
        queries: { "{{worker}}": "max by (worker) (florence_model_load_seconds)" },
      },
    ],
  },
  {
    name: "errors",
    title: "Florence: errors",
    panels: [
      {
        title: "Refused and failed requests",
        unit: "ops",
        queries: { "{{code}}": rate("florence_refusals_total", "code") },
      },
      {
        title: "Tasks without an answer",
        unit: "ops",
        queries: { "{{task}}": rate('florence_tasks_total{result="failed"}', "task") },
      },
      {
        title: "Calls between services that did not end well",
        unit: "ops",
        queries: { "{{method}} {{code}}": rate('florence_rpc_duration_seconds_count{code!="ok"}', "method, code") },
      },
      { title: "Second tries", unit: "ops", queries: { "{{service}}": rate("florence_retries_total", "service") } },
      {
        title: "Tasks abandoned in decoders",
        unit: "ops",
        queries: { "{{code}}": rate("florence_tasks_abandoned_total", "code") },
      },
      {
        title: "Workers that fell",
        unit: "short",
        queries: { "{{worker}}": "sum by (worker) (increase(florence_worker_crashes_total[$__rate_interval]))" },
      },
      { title: "Peers known", unit: "short", queries: { "{{service}} {{instance}}": "florence_peers" } },
      {
        title: "Peers avoided",
        unit: "ops",
        queries: { "{{service}}": rate("florence_peers_avoided_total", "service") },
      },
      { title: "Processes with NATS", unit: "short", queries: { connected: "sum (florence_nats_connected)" } },
      {
        title: "NATS found out of reach",
        unit: "ops",
        queries: { breakers: rate("florence_nats_breaker_opened_total") },
      },
    ],
  },
];

const [columns, panelWidth, panelHeight] = [24, 12, 8];

/** A dashboard as Grafana imports it. */
export function grafanaJson({ name, title, panels }: Dashboard): string {
  const datasource = { type: "prometheus", uid: `$${"{datasource}"}` }; // The variable that is declared below.
  const model = {
    uid: `florence-${name}`,
    title,
    tags: ["florence"],
    timezone: "browser",
    refresh: "30s",
    schemaVersion: 39,
    time: { from: "now-1h", to: "now" },
    templating: { list: [{ name: "datasource", type: "datasource", query: "prometheus", label: "Prometheus" }] },
    panels: panels.map((panel, i) => ({
      id: i + 1,
      type: "timeseries",
      title: panel.title,
      datasource,
      gridPos: {
        x: (i * panelWidth) % columns,
        y: Math.floor((i * panelWidth) / columns) * panelHeight,
        w: panelWidth,
        h: panelHeight,
      },
      fieldConfig: { defaults: { unit: panel.unit, min: 0 }, overrides: [] },
      targets: Object.entries(panel.queries).map(([legendFormat, expr], target) => ({
        refId: String.fromCharCode("A".charCodeAt(0) + target),
        datasource,
        expr,
        legendFormat,
      })),
    })),
  };
  return `${JSON.stringify(model, null, 2)}\n`;
}

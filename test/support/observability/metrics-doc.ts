import { telemetryConfig } from "@florence/telemetry";
import { attributes, type MetricSpec, metrics, processMetrics, spanEvents, spans } from "@florence/telemetry/registry";
import { settingsTable, table } from "../markdown.ts";

/** The text of docs/metrics.md. */
export function metricsDoc(): string {
  const all: readonly MetricSpec[] = [...Object.values(metrics), ...Object.values(processMetrics)];
  const named = (list: Readonly<Record<string, { readonly name: string; readonly help: string }>>) =>
    Object.values(list).map(({ name, help }) => [`\`${name}\``, help]);
  return `# Metrics and traces

Made from the registry in \`packages/telemetry/src/registry.ts\` by \`npm run docs\`. A name is the same in the code, over OTLP and in Prometheus. Nothing that is told holds an image, a prompt or an answer, and no caller can make a new series: a label's value that is not in its list is \`other\`.

## Turn it on

Off unless a variable says where to: \`FLORENCE_METRICS_PORT=9464\` for Prometheus, \`OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318\` for a collector. \`OTEL_SERVICE_NAME\`, \`OTEL_RESOURCE_ATTRIBUTES\` and the exporters' variables for headers, certificates, compression and timeouts are read as OpenTelemetry specifies them.

${settingsTable(telemetryConfig)}

A gateway continues the trace of a \`traceparent\` that a request brings, and says the trace's id in \`x-trace-id\` of every answer; the lines of a request in the log have it as \`trace_id\`. A caller thereby decides whether its trace is kept; where strangers call, \`OTEL_TRACES_SAMPLER=traceidratio\` does not ask them.

## Metrics

${table(
  ["name", "kind", "unit", "labels", "meaning"],
  all.map(({ name, kind, unit, labels, help }) => [`\`${name}\``, kind, unit, labelsText(labels), help]),
)}

Labels with more than eight values: \`task\` is a task's name, \`code\` a code of [errors.md](errors.md).

## Spans

A request is one trace: the gateway's server span, its calls to encoders and decoders, theirs, and the parts below. HTTP's span is named by method and route, gRPC's by service and method. Work that is done for several calls is one span, linked to each of them.

${table(["name", "meaning"], named(spans))}

Events within spans:

${table(["name", "meaning"], named(spanEvents))}

Attributes; those without the prefix are OpenTelemetry's semantic conventions:

${table(["name", "meaning"], named(attributes))}
`;
}

// A list that is longer is described in a sentence below the table.
const shownMax = 8;

function labelsText(labels: MetricSpec["labels"]): string {
  return Object.entries(labels)
    .map(([name, values]) => `\`${name}\`${values.length > shownMax ? "" : `: ${values.join(", ")}`}`)
    .join("; ");
}

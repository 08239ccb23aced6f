import { type Config, flag, integer, oneOf, text } from "@florence/service";

// An hour: longer delays are mistakes.
const delayMsMax = 3_600_000;

/**
 * What a process tells of itself, and where. The standard OTEL_ variables, of which the exporters read some more by themselves (headers,
 * certificates, compression, timeouts), and two of ours for Prometheus. With none of them set nothing is loaded.
 */
export const telemetryConfig = {
  metricsPort: integer({
    help: "Port on which Prometheus finds /metrics; 0 picks a free one. Unset: none.",
    default: undefined,
    min: 0,
    max: 65535,
  }),
  metricsHost: text({ help: "Address that /metrics listens on; a container needs 0.0.0.0.", default: "127.0.0.1" }),
  disabled: flag({ variable: "OTEL_SDK_DISABLED", help: "Tell nothing, whatever else is set.", default: false }),
  endpoint: text({
    variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
    help: "URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318.",
    default: undefined,
  }),
  tracesEndpoint: text({
    variable: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    help: "Whole URL for traces alone.",
    default: undefined,
  }),
  metricsEndpoint: text({
    variable: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    help: "Whole URL for metrics alone.",
    default: undefined,
  }),
  protocol: oneOf(["http/protobuf"], {
    variable: "OTEL_EXPORTER_OTLP_PROTOCOL",
    help: "How OTLP is sent: there is one way.",
    default: "http/protobuf",
  }),
  tracesExporter: oneOf(["otlp", "none"], {
    variable: "OTEL_TRACES_EXPORTER",
    help: "Whether traces are sent. Unset: where an endpoint is set.",
    default: undefined,
  }),
  metricsExporter: oneOf(["otlp", "prometheus", "none"], {
    variable: "OTEL_METRICS_EXPORTER",
    help: "Where metrics go beside FLORENCE_METRICS_PORT. Unset: to the endpoint where one is set.",
    default: undefined,
  }),
  sampler: oneOf(
    [
      "always_on",
      "always_off",
      "traceidratio",
      "parentbased_always_on",
      "parentbased_always_off",
      "parentbased_traceidratio",
    ],
    {
      variable: "OTEL_TRACES_SAMPLER",
      help: "Which traces are kept; parentbased ones do as the caller does.",
      default: "parentbased_always_on",
    },
  ),
  samplerArg: text({
    variable: "OTEL_TRACES_SAMPLER_ARG",
    help: "The share of traces that a traceidratio sampler keeps, 0 to 1.",
    default: "1",
  }),
  // The defaults of the specification.
  spanDelayMs: integer({
    variable: "OTEL_BSP_SCHEDULE_DELAY",
    help: "How long spans are collected before they are sent, milliseconds.",
    default: 5_000,
    min: 1,
    max: delayMsMax,
  }),
  spanQueueMax: integer({
    variable: "OTEL_BSP_MAX_QUEUE_SIZE",
    help: "Spans that wait to be sent; further ones are dropped.",
    default: 2_048,
    min: 1,
    max: 1e6,
  }),
  spanBatchMax: integer({
    variable: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    help: "Spans in one message.",
    default: 512,
    min: 1,
    max: 1e6,
  }),
  metricsIntervalMs: integer({
    variable: "OTEL_METRIC_EXPORT_INTERVAL",
    help: "How often metrics are sent, milliseconds.",
    default: 60_000,
    min: 100,
    max: delayMsMax,
  }),
};

export type TelemetryConfig = Config<typeof telemetryConfig>;

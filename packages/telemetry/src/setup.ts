import { type Logger, untraced } from "@florence/service";
import type { TelemetryConfig } from "./config.ts";
import type { Telemetry } from "./telemetry.ts";

/** Who a process is, and where it says that telling has failed. */
export interface TelemetryOptions {
  /** The name in traces and metrics unless OTEL_SERVICE_NAME is set, such as florence-gateway. */
  readonly service: string;
  readonly log?: Logger;
}

/** What a configuration asks for. */
export interface Wanted {
  /** Where traces go, a whole URL. */
  readonly traces: string | undefined;
  /** Where metrics go, a whole URL. */
  readonly metrics: string | undefined;
  readonly prometheus: { readonly host: string; readonly port: number } | undefined;
}

// Both from OpenTelemetry's specification.
const endpointDefault = "http://localhost:4318";
const prometheusPortDefault = 9464;

const nothing: Telemetry = {
  tracing: untraced,
  listeners: { gateway: [], encoder: [], decoder: [], embeddings: [] },
  metricsUrl: undefined,
  [Symbol.asyncDispose]: async () => {},
};

/**
 * Starts what the configuration asks for. Where that is nothing, nothing is loaded. Throws where /metrics cannot listen; a collector that
 * cannot be reached is logged, and stops nobody.
 */
export async function startTelemetry(config: TelemetryConfig, options: TelemetryOptions): Promise<Telemetry> {
  const wanted = wantedOf(config);
  if (!wanted.traces && !wanted.metrics && !wanted.prometheus) return nothing;
  const { startSdk } = await import("./sdk.ts");
  return startSdk(config, wanted, options);
}

export function wantedOf(config: TelemetryConfig): Wanted {
  const { disabled, endpoint, tracesExporter, metricsExporter, metricsPort, metricsHost: host } = config;
  if (disabled) return { traces: undefined, metrics: undefined, prometheus: undefined };
  const urlOf = (own: string | undefined, asked: boolean | undefined, path: string) => {
    if (!(asked ?? (own ?? endpoint) !== undefined)) return undefined;
    return own ?? `${(endpoint ?? endpointDefault).replace(/\/$/, "")}${path}`;
  };
  const asked = (exporter: string | undefined) => (exporter === undefined ? undefined : exporter === "otlp");
  const port = metricsPort ?? (metricsExporter === "prometheus" ? prometheusPortDefault : undefined);
  return {
    traces: urlOf(config.tracesEndpoint, asked(tracesExporter), "/v1/traces"),
    metrics: urlOf(config.metricsEndpoint, asked(metricsExporter), "/v1/metrics"),
    prometheus: port === undefined ? undefined : { host, port },
  };
}

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { formatAddress, type Logger, within } from "@florence/service";
import { DiagLogLevel, diag } from "@opentelemetry/api";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { type IMetricReader, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { createTracing } from "./calls.ts";
import type { TelemetryConfig } from "./config.ts";
import { createInstruments } from "./instruments.ts";
import { metricListeners } from "./metrics.ts";
import { watchProcess } from "./process.ts";
import type { TelemetryOptions, Wanted } from "./setup.ts";
import { Stages } from "./stages.ts";
import type { Telemetry } from "./telemetry.ts";
import { traceListeners } from "./traces.ts";

const scope = "florence";
// A collector that hangs must not hold up a stop; what is not sent by then is lost.
const flushMsMax = 2_000;

/** Starts OpenTelemetry's SDK. Throws where /metrics cannot listen. */
export async function startSdk(config: TelemetryConfig, wanted: Wanted, options: TelemetryOptions): Promise<Telemetry> {
  await using resources = new AsyncDisposableStack();
  if (options.log) hearProblems(options.log);
  const resource = defaultResource()
    .merge(
      resourceFromAttributes({
        "service.name": options.service,
        "service.namespace": scope,
        "service.instance.id": crypto.randomUUID(),
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }));

  const traces = wanted.traces === undefined ? undefined : tracerProvider(config, wanted.traces, resource);
  if (traces) resources.defer(() => flushed(traces.shutdown()));
  const tracer = traces?.getTracer(scope);

  const readers: IMetricReader[] = [];
  if (wanted.metrics !== undefined) {
    const exporter = new OTLPMetricExporter({ url: wanted.metrics });
    readers.push(new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: config.metricsIntervalMs }));
  }
  const prometheus = wanted.prometheus && new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  if (prometheus) readers.push(prometheus);
  const meters = readers.length === 0 ? undefined : new MeterProvider({ resource, readers });
  if (meters) resources.defer(() => flushed(meters.shutdown()));
  const meter = meters?.getMeter(scope);
  if (meter) resources.use(watchProcess(meter));

  const server =
    prometheus && createServer((request, response) => prometheus.getMetricsRequestHandler(request, response));
  if (server && wanted.prometheus) {
    await listening(server, wanted.prometheus);
    resources.defer(() => closed(server));
  }
  const metricsUrl = server && wanted.prometheus && urlOf(server, wanted.prometheus.host);
  if (metricsUrl) options.log?.info({ url: metricsUrl }, "metrics listening");

  const metrics = meter && metricListeners(createInstruments(meter));
  const spans = tracer && traceListeners(new Stages(tracer));
  const running = resources.move();
  return {
    tracing: createTracing(tracer),
    listeners: {
      get gateway() {
        return both(metrics?.gateway, spans?.gateway);
      },
      get encoder() {
        return both(metrics?.encoder, spans?.encoder);
      },
      get decoder() {
        return both(metrics?.decoder, spans?.decoder);
      },
      get embeddings() {
        return both(metrics?.embeddings, spans?.embeddings);
      },
    },
    metricsUrl,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Makes those of two listeners that are wanted. */
function both<A, B>(first: (() => A) | undefined, second: (() => B) | undefined): (A | B)[] {
  return [...(first ? [first()] : []), ...(second ? [second()] : [])];
}

function tracerProvider(config: TelemetryConfig, url: string, resource: ReturnType<typeof defaultResource>) {
  const processor = new BatchSpanProcessor({
    exporter: new OTLPTraceExporter({ url }),
    scheduledDelayMillis: config.spanDelayMs,
    maxQueueSize: config.spanQueueMax,
    maxExportBatchSize: Math.min(config.spanBatchMax, config.spanQueueMax),
  });
  return new TracerProvider({ resource, sampler: samplerOf(config), spanProcessors: [processor] });
}

function samplerOf({ sampler, samplerArg }: TelemetryConfig): Sampler {
  const root = rootSampler(sampler.replace("parentbased_", ""), Number(samplerArg));
  return sampler.startsWith("parentbased_") ? new ParentBasedSampler({ root }) : root;
}

function rootSampler(name: string, share: number): Sampler {
  if (name === "always_off") return new AlwaysOffSampler();
  return name === "traceidratio" ? new TraceIdRatioBasedSampler(share) : new AlwaysOnSampler();
}

/** Has what the SDK complains of logged: above all a collector that cannot be reached. */
function hearProblems(log: Logger): void {
  const warn = (message: string, ...about: unknown[]) =>
    log.warn({ about: about.map(String) }, `telemetry: ${message}`);
  const silent = () => {};
  diag.setLogger(
    { error: warn, warn, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

async function flushed(ended: Promise<void>): Promise<void> {
  await within(ended, flushMsMax).catch(() => {});
}

function listening(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
}

function urlOf(server: Server, host: string): string {
  return `http://${formatAddress(host, (server.address() as AddressInfo).port)}/metrics`;
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

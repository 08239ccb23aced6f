import type { Tracing } from "@florence/service";
import type { MetricListeners } from "./metrics.ts";
import type { TraceListeners } from "./traces.ts";

/** The lists of events that are listened to. */
export type Role = "gateway" | "encoder" | "decoder" | "embeddings";

/** What a process tells of itself. Disposing it sends what was not sent yet. */
export interface Telemetry extends AsyncDisposable {
  /** For the servers and clients of a service. */
  readonly tracing: Tracing;
  /** For the events of a service, and of the stores that it is given; made anew each time they are read. */
  readonly listeners: { readonly [R in Role]: readonly (MetricListeners[R] | TraceListeners[R])[] };
  /** Where Prometheus finds the metrics; undefined where it does not. */
  readonly metricsUrl: string | undefined;
}

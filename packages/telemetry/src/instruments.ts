import type { Attributes, Meter } from "@opentelemetry/api";
import type { Labels, MetricSpec } from "./define.ts";
import { type Metrics, metrics, other } from "./registry.ts";

type LabelsOf<L extends Labels> = { readonly [K in keyof L]: L[K][number] };

/** Adds to a counter, sets a gauge, or records a value of a histogram. */
export type Recorder<M> =
  M extends MetricSpec<infer _K, infer L>
    ? keyof L extends never
      ? (value: number) => void
      : (value: number, labels: LabelsOf<L>) => void
    : never;

/** The registry's metrics, to be recorded by their keys. */
export type Instruments = { readonly [K in keyof Metrics]: Recorder<Metrics[K]> };

/** Makes all of the registry's instruments. A label's value that the registry does not list is recorded as `other`. */
export function createInstruments(meter: Meter): Instruments {
  const entries = Object.entries<MetricSpec>(metrics).map(([key, spec]) => {
    const closed = closing(spec);
    const record = recorder(meter, spec);
    return [key, (value: number, labels?: Attributes) => record(value, closed(labels))];
  });
  return Object.fromEntries(entries) as Instruments;
}

/**
 * Has counters begin at zero, with each of their labels' values: Prometheus does not see the first step of a series that was not there
 * before. For those of one role, so that no process shows what it never counts.
 */
export function beginAtZero(record: Instruments, keys: readonly (keyof Metrics)[]): void {
  for (const key of keys) {
    let series: Attributes[] = [{}];
    for (const [label, values] of Object.entries<readonly string[]>(metrics[key].labels)) {
      series = series.flatMap((labels) => values.map((value) => ({ ...labels, [label]: value })));
    }
    const add = record[key] as (value: number, labels: Attributes) => void;
    for (const labels of series) add(0, labels);
  }
}

function recorder(meter: Meter, spec: MetricSpec): (value: number, labels: Attributes) => void {
  const options = { unit: spec.unit, description: spec.help };
  if (spec.kind === "histogram") {
    const advice = { explicitBucketBoundaries: [...(spec.buckets ?? [])] };
    const histogram = meter.createHistogram(spec.name, { ...options, advice });
    return (value, labels) => histogram.record(value, labels);
  }
  if (spec.kind === "gauge") {
    const gauge = meter.createGauge(spec.name, options);
    return (value, labels) => gauge.record(value, labels);
  }
  const counter = meter.createCounter(spec.name, options);
  return (value, labels) => counter.add(value, labels);
}

/** Keeps a metric's labels to their lists. */
function closing({ labels }: MetricSpec): (given?: Attributes) => Attributes {
  const lists = Object.entries(labels).map(([name, values]) => [name, new Set(values)] as const);
  return (given = {}) =>
    Object.fromEntries(
      lists.map(([name, values]) => {
        const value = String(given[name]);
        return [name, values.has(value) ? value : other];
      }),
    );
}

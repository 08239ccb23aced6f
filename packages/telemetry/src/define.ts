// How the registry says what a metric, a span or an attribute is.

/** The values that a label may have. Anything else is recorded as `other`, so that no caller can make new time series. */
export type LabelValues = readonly string[];
export type Labels = Readonly<Record<string, LabelValues>>;

/** What is counted (it only grows), read (now), or how values are spread. */
export type MetricKind = "counter" | "gauge" | "histogram";

/** A metric, as it is named everywhere: in the code, over OTLP and in Prometheus. */
export interface MetricSpec<K extends MetricKind = MetricKind, L extends Labels = Labels> {
  readonly kind: K;
  readonly name: string;
  /** UCUM: s, By, 1 … */
  readonly unit: string;
  readonly labels: L;
  readonly help: string;
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

interface About<L extends Labels> {
  readonly unit: string;
  readonly help: string;
  readonly labels?: L;
}

// biome-ignore lint/complexity/noBannedTypes: no labels is an object without keys.
type None = {};

export function counter<const L extends Labels = None>(name: string, about: About<L>): MetricSpec<"counter", L> {
  return { kind: "counter", name, labels: {} as L, ...about };
}

export function gauge<const L extends Labels = None>(name: string, about: About<L>): MetricSpec<"gauge", L> {
  return { kind: "gauge", name, labels: {} as L, ...about };
}

export function histogram<const L extends Labels = None>(
  name: string,
  about: About<L> & { readonly buckets: readonly number[] },
): MetricSpec<"histogram", L> {
  return { kind: "histogram", name, labels: {} as L, ...about };
}

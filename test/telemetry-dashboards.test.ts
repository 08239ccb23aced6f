import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type MetricSpec, metrics, other, processMetrics } from "@florence/telemetry/registry";
import { expect, test } from "vitest";
import { alerts } from "./support/observability/alerts.ts";
import { dashboards } from "./support/observability/dashboards.ts";
import { root } from "./support/services.ts";

const declared: readonly MetricSpec[] = Object.values({ ...metrics, ...processMetrics });
// What Prometheus adds to each series, and what it says of what it scrapes.
const added = ["le", "job", "instance"];
const prometheusOwn = ["up"];

/** The metrics that a query reads, with the labels that it asks for. */
function readsOf(query: string) {
  const selectors = [...query.matchAll(/\b(florence_\w+|up)\b(?:\{([^}]*)\})?/g)];
  const grouped = [...query.matchAll(/\bby \(([^)]*)\)/g)]
    .flatMap(([, list = ""]) => list.split(/,\s*/))
    .filter(Boolean);
  return selectors.map(([, series = "", matchers = ""]) => ({
    series,
    grouped,
    matchers: [...matchers.matchAll(/(\w+)(=~|!=|!~|=)"([^"]*)"/g)].map(([, label = "", op = "", value = ""]) => ({
      label,
      op,
      value,
    })),
  }));
}

function specOf(series: string): MetricSpec | undefined {
  return declared.find(({ name, kind }) =>
    kind === "histogram" ? ["_bucket", "_sum", "_count"].some((end) => name + end === series) : name === series,
  );
}

const queries = [
  ...dashboards.flatMap(({ name, panels }) =>
    panels.flatMap((panel) => Object.values(panel.queries).map((query) => [`${name}: ${panel.title}`, query] as const)),
  ),
  ...alerts.map(({ name, expr }) => [name, expr] as const),
];

test.each(queries)("%s reads metrics, labels and values that there are", (_, query) => {
  const reads = readsOf(query);
  expect(reads.length).toBeGreaterThan(0);
  for (const { series, matchers, grouped } of reads) {
    if (prometheusOwn.includes(series)) continue;
    const spec = specOf(series);
    expect(spec, series).toBeDefined();
    const labels = [...Object.keys(spec?.labels ?? {}), ...added];
    for (const label of grouped) expect(labels, `${series} by ${label}`).toContain(label);
    for (const { label, op, value } of matchers) {
      expect(labels, series).toContain(label);
      const values = [...(spec?.labels[label] ?? []), other];
      if (label === "quantile" || op === "=" || op === "!=") expect(values, `${series} ${label}`).toContain(value);
    }
  }
});

test("every metric is on a dashboard, and every dashboard of the folder is one of them", () => {
  const shown = new Set(queries.flatMap(([, query]) => readsOf(query).map(({ series }) => specOf(series)?.name)));
  expect(declared.map(({ name }) => name).filter((name) => !shown.has(name))).toEqual([]);
  expect(readdirSync(join(root, "deploy/observability/dashboards")).sort()).toEqual(
    dashboards.map(({ name }) => `${name}.json`).sort(),
  );
});

test("every alert says what to do, and is made to fire by its own test", () => {
  for (const { name, runbook, fires } of alerts) {
    expect(runbook.length, name).toBeGreaterThan(60);
    expect(Object.keys(fires).length, name).toBeGreaterThan(0);
  }
});

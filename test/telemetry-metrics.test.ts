import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decoderEvents } from "@florence/decoder";
import { embeddingEvents } from "@florence/embeddings";
import { encoderEvents } from "@florence/encoder";
import { gatewayEvents } from "@florence/gateway";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { Health } from "@florence/proto/health";
import { countEvents, createEvents, readConfig } from "@florence/service";
import { startTelemetry, telemetryConfig } from "@florence/telemetry";
import {
  attributes,
  type MetricSpec,
  metrics,
  other,
  processMetrics,
  routes,
  rpcMethods,
  spanEvents,
  spans,
} from "@florence/telemetry/registry";
import { afterAll, beforeAll, expect, test } from "vitest";
import { annotateJson, annotateRaw } from "./support/annotate.ts";
import { drawImage } from "./support/cluster.ts";
import { type OtlpReceiver, startOtlpReceiver } from "./support/otlp.ts";
import { scrape, total } from "./support/prometheus-text.ts";
import { root } from "./support/services.ts";
import { startToldServices, type ToldServices } from "./support/told.ts";

const declared: readonly MetricSpec[] = Object.values({ ...metrics, ...processMetrics });
const secret = "xylophone quagga";
const unknownPath = "okapi";
let otlp: OtlpReceiver;
let services: ToldServices;
let answers: Awaited<ReturnType<typeof annotateRaw>>[];
let image: Uint8Array<ArrayBuffer>;

beforeAll(async () => {
  otlp = await startOtlpReceiver();
  services = await startToldServices({
    OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
    OTEL_BSP_SCHEDULE_DELAY: "50",
    OTEL_METRIC_EXPORT_INTERVAL: "100",
  });
  const { url } = services;
  image = await drawImage(1);
  const short = "num_beams=1&max_new_tokens=20";
  answers = [
    await annotateRaw(url, image, `task=caption&task=object_detection&${short}`),
    await annotateRaw(url, image, `task=ocr&${short}`),
    await annotateJson(url, image, [{ task: "phrase_grounding", text: secret }], { max_new_tokens: 20, num_beams: 1 }),
    await annotateJson(url, image, [{ task: "open_vocabulary_detection", text: secret }], {
      max_new_tokens: 20,
      num_beams: 1,
      constrain: true,
    }),
  ];
  await fetch(`${url}/v1/annotate?task=object_detection&${short}`, {
    method: "POST",
    headers: { "content-type": "image/png", accept: "text/event-stream" },
    body: await drawImage(2),
  }).then((response) => response.text());
  await annotateRaw(url, new Uint8Array(Buffer.from(`no image, but ${secret}`)), "task=caption");
  await annotateJson(url, image, [{ task: "caption", text: secret }]); // takes no text
  await fetch(`${url}/v1/${unknownPath}?${encodeURIComponent(secret)}`);
});
afterAll(async () => {
  await services?.[Symbol.asyncDispose]();
  await otlp?.[Symbol.asyncDispose]();
});

test("what is exported is in the registry: names, kinds of series, labels and their values", async () => {
  const ours = (await scrape(services.metricsUrl)).filter(({ name }) => name.startsWith("florence_"));
  expect(ours.length).toBeGreaterThan(100);
  for (const { name, labels } of ours) {
    const spec = declared.find((s) => s.name === name || (s.kind === "histogram" && seriesOf(s.name).includes(name)));
    expect(spec, name).toBeDefined();
    const { le: _, ...own } = labels;
    expect(Object.keys(own).sort(), name).toEqual(Object.keys(spec?.labels ?? {}).sort());
    for (const [label, value] of Object.entries(own)) {
      expect([...(spec?.labels[label] ?? []), other], `${name} ${label}`).toContain(value);
    }
  }
});

const seriesOf = (histogram: string) => ["_bucket", "_sum", "_count"].map((suffix) => histogram + suffix);

test("what is in the registry is used: every metric is recorded, every span made, every attribute set", () => {
  const source = (name: string) => readFileSync(join(root, "packages/telemetry/src", name), "utf8");
  const [recorded, made] = [source("metrics.ts"), source("traces.ts") + source("calls.ts")];
  const unused = [
    ...Object.keys(metrics).filter((key) => !recorded.includes(`record.${key}(`)),
    ...Object.keys(spans).filter((key) => !made.includes(`spans.${key}`)),
    ...Object.keys(spanEvents).filter((key) => !made.includes(`spanEvents.${key}.`)),
    ...Object.keys(attributes).filter((key) => !made.includes(`names.${key}.`)),
  ];
  expect(unused).toEqual([]);
});

test("names say their units, and nothing is declared twice", () => {
  const suffix = { s: "_seconds", By: "_bytes", 1: "" } as Record<string, string>;
  for (const { name, unit, kind } of declared) {
    expect(name, name).toMatch(/^florence_[a-z_]+$/);
    expect(name.replace(/_total$/, ""), name).toMatch(new RegExp(`${suffix[unit]}$`));
    expect(name.endsWith("_total"), name).toBe(kind === "counter");
  }
  const names = declared.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});

test("only events that exist are heard, and nothing that can happen keeps them from being told", async () => {
  const config = readConfig({ FLORENCE_METRICS_PORT: "0", OTEL_TRACES_EXPORTER: "otlp" }, telemetryConfig);
  await using telemetry = await startTelemetry(config, { service: "test" });
  const lists = {
    gateway: gatewayEvents,
    encoder: encoderEvents,
    decoder: decoderEvents,
    embeddings: embeddingEvents,
  };
  for (const [role, events] of Object.entries(lists) as ["gateway", typeof gatewayEvents][]) {
    const listeners = telemetry.listeners[role];
    expect(listeners.length).toBe(2);
    for (const listener of listeners) {
      expect(Object.keys(events)).toEqual(expect.arrayContaining(Object.keys(listener)));
    }
  }
});

test("the routes and methods of the registry are those that there are", async () => {
  const { routes: served } = (await (await fetch(`${services.url}/`)).json()) as { routes: { path: string }[] };
  expect([...new Set(served.map(({ path }) => path)), other].sort()).toEqual([...routes].sort());
  const methods = [Encoder, Decoder, Health].flatMap(({ typeName, methods: of }) =>
    of.map(({ name }) => `${typeName}.${name}`),
  );
  expect([...methods, other].sort()).toEqual([...rpcMethods].sort());
});

test("the metrics add up to what was asked", async () => {
  const samples = await scrape(services.metricsUrl);
  const count = (name: string, labels: Record<string, string> = {}) => total(samples, name, labels);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(count("florence_tasks_total", { result: "answered" })).toBe(6);
  expect(count("florence_images_total", { result: "miss" })).toBe(2);
  expect(count("florence_encodings_saved_total")).toBe(3);
  expect(count("florence_batch_size_sum", { graph: "vision" })).toBe(2);
  expect(count("florence_batch_size_sum", { graph: "prompt" })).toBe(6);
  expect(count("florence_time_to_first_token_seconds_count")).toBe(1);
  expect(count("florence_request_duration_seconds_count", { route: "/v1/annotate", status: "2xx" })).toBe(5);
  expect(count("florence_request_duration_seconds_count", { route: "other", status: "4xx" })).toBe(1);
  expect(count("florence_refusals_total", { code: "task_input_unexpected" })).toBe(1);
  expect(count("florence_requests_running")).toBe(0);
  expect(count("florence_decoder_sequences")).toBe(0);
  expect(count("florence_encoder_images_waiting")).toBe(0);
  expect(count("florence_model_load_seconds", { worker: "decode" })).toBeGreaterThan(0);
  const prompts = count("florence_prompt_batch_tokens_total", { kind: "prompt" });
  expect(prompts).toBe(count("florence_prompt_tokens_total"));
});

test("image bytes, prompts and answers are in nothing that is told", async () => {
  await otlp.until((all) => (all.filter(({ name }) => name === "florence.decode").length >= 6 ? true : undefined));
  await new Promise((resolve) => setTimeout(resolve, 300)); // one more reading of the metrics
  const all = Buffer.concat([
    ...otlp.bodies,
    Buffer.from(await (await fetch(services.metricsUrl)).text()),
    Buffer.from(services.log()),
  ]);
  expect(all.includes("florence.decode")).toBe(true);
  expect(all.includes("florence_tasks_total")).toBe(true);
  expect(all.includes('"msg":"request"')).toBe(true);
  const texts = [
    ...answers.flatMap(({ results }) => results.map(({ text = "" }) => text)),
    secret,
    "xylophone",
    "quagga",
  ];
  for (const text of texts.filter(({ length }) => length > 5)) {
    expect(all.includes(text), text).toBe(false);
    expect(all.includes(encodeURIComponent(text)), text).toBe(false);
  }
  // The log says what was asked for; no series and no span is named by it.
  expect(services.log()).toContain(unknownPath);
  expect(Buffer.concat(otlp.bodies).includes(unknownPath)).toBe(false);
  const pixels = Buffer.from(image).subarray(60, 90);
  for (const form of [pixels, pixels.toString("base64").slice(2, 30), pixels.toString("hex")]) {
    expect(all.includes(form)).toBe(false);
  }
});

test("each line of a request's log names its trace", () => {
  const lines = services
    .log()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const requests = lines.filter(({ msg }) => msg === "request");
  expect(requests.length).toBeGreaterThan(6);
  for (const { trace_id, span_id } of requests) {
    expect(trace_id).toMatch(/^[0-9a-f]{32}$/);
    expect(span_id).toMatch(/^[0-9a-f]{16}$/);
  }
});

test("off, nothing is loaded and nothing is heard", async () => {
  const telemetry = await startTelemetry(readConfig({}, telemetryConfig), { service: "test" });
  expect(Object.values(telemetry.listeners).flat()).toEqual([]);
  const { counts, listener } = countEvents(gatewayEvents);
  createEvents(gatewayEvents, [listener, ...telemetry.listeners.gateway]).requestReceived({
    requestId: "1",
    method: "GET",
    path: "/",
  });
  expect(counts.requestReceived).toBe(1);
});

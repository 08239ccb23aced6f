import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { type Cluster, drawImage, haveNats, report, startCluster } from "./support/cluster.ts";
import { drawTrace, type ExportedSpan, type OtlpReceiver, startOtlpReceiver } from "./support/otlp.ts";

const server = 2; // SPAN_KIND_SERVER
const short = "num_beams=1&max_new_tokens=20";

/** Sends a call as part of a trace of the caller's own, and waits for all of its spans. */
async function traced(
  { otlp, cluster }: { otlp: OtlpReceiver; cluster: Cluster },
  gateway: number,
  image: Uint8Array<ArrayBuffer>,
  query: string,
  headers: Record<string, string> = {},
): Promise<ExportedSpan[]> {
  const traceId = crypto.randomUUID().replaceAll("-", "");
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
  const response = await fetch(`${cluster.urls[gateway]}/v1/annotate?${query}&${short}`, {
    method: "POST",
    headers: { "content-type": "image/png", traceparent, ...headers },
    body: image,
  });
  await response.text();
  expect(response.status).toBe(200);
  expect(response.headers.get("x-trace-id")).toBe(traceId);
  const own = () => otlp.spans.filter((span) => span.traceId === traceId);
  const wanted = ["POST /v1/annotate", "florence.v1.Encoder/Encode", "florence.v1.Decoder/Generate"];
  // A server's span ends after its other spans, and so is sent after them.
  await otlp.until(() => {
    const servers = own().filter(({ kind }) => kind === server);
    return wanted.every((name) => servers.some((span) => span.name === name)) || undefined;
  });
  return own();
}

const named = (spans: readonly ExportedSpan[], name: string) => spans.filter((span) => span.name === name);
const lasted = ({ startMs, endMs }: ExportedSpan) => endMs - startMs;

describe.runIf(haveNats)("two gateways, two encoders, two decoders and NATS, exporting OTLP", () => {
  let otlp: OtlpReceiver;
  let cluster: Cluster;
  beforeAll(async () => {
    otlp = await startOtlpReceiver();
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
      OTEL_BSP_SCHEDULE_DELAY: "100",
      OTEL_METRIC_EXPORT_INTERVAL: "500",
      FLORENCE_NATS_READ_MS_MAX: "3000",
    };
    cluster = await startCluster({ gateways: 2, encoders: 2, decoders: 2, env });
  }, 60_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await otlp?.[Symbol.asyncDispose]();
  });

  test("one call is one trace, the caller's, with a span for every stage in every service", async () => {
    const spans = await traced({ otlp, cluster }, 0, await drawImage(1), "task=caption&task=object_detection");
    await otlp.until(
      () =>
        named(
          otlp.spans.filter((s) => s.traceId === spans[0]?.traceId),
          "put florence-embeddings",
        )[0],
    );
    const all = otlp.spans.filter(({ traceId }) => traceId === spans[0]?.traceId);
    report(`\n${drawTrace(all)}\n`);
    const services = (name: string) => [...new Set(named(all, name).map(({ service }) => service))].sort();
    expect(services("POST /v1/annotate")).toEqual(["florence-gateway"]);
    expect(services("florence.v1.Encoder/Encode")).toEqual(["florence-encoder", "florence-gateway"]);
    expect(services("florence.v1.Decoder/Generate")).toEqual(["florence-decoder", "florence-gateway"]);
    expect(services("florence.admission")).toEqual(["florence-decoder", "florence-encoder", "florence-gateway"]);
    expect(services("florence.request.read")).toEqual(["florence-gateway"]);
    for (const name of ["florence.image.decode", "florence.encode.queue", "florence.encode", "florence.vision.batch"])
      expect(services(name), name).toEqual(["florence-encoder"]);
    for (const name of ["florence.embedding.get", "florence.prompt.batch", "florence.answer.parse"])
      expect(services(name), name).toEqual(["florence-decoder"]);
    for (const name of ["florence.decode.queue", "florence.prompt", "florence.decode"])
      expect(
        named(all, name).map((span) => span.attributes["florence.task"]),
        name,
      ).toEqual(expect.arrayContaining(["caption", "object_detection"]));
    // Each hangs on one that is there, but for the caller's own.
    const ids = new Set(all.map(({ spanId }) => spanId));
    expect(all.filter(({ parentId }) => !ids.has(parentId)).map(({ name }) => name)).toEqual(["POST /v1/annotate"]);
  });

  test("the stages of the gateway follow each other and lie within the request", async () => {
    const spans = await traced({ otlp, cluster }, 0, await drawImage(2), "task=more_detailed_caption");
    const [root] = named(spans, "POST /v1/annotate") as [ExportedSpan];
    const stages = spans.filter(({ parentId }) => parentId === root.spanId);
    const sum = stages.reduce((ms, stage) => ms + lasted(stage), 0);
    report(`the stages sum to ${((100 * sum) / lasted(root)).toFixed(1)} % of the request`);
    const ordered = stages.toSorted((a, b) => a.startMs - b.startMs);
    expect(ordered.map(({ name }) => name)).toEqual([
      "florence.request.read",
      "florence.admission",
      "florence.v1.Encoder/Encode",
      "florence.v1.Decoder/Generate",
    ]);
    for (const [i, stage] of ordered.entries()) {
      // To a millisecond: two clocks are read one after the other.
      expect(stage.startMs).toBeGreaterThanOrEqual((ordered[i - 1]?.endMs ?? root.startMs) - 1);
      expect(stage.endMs).toBeLessThanOrEqual(root.endMs + 1);
    }
  });

  test("calls that join an encoding are linked to the call that makes it", async () => {
    const image = await drawImage(3);
    const calls = await Promise.all(
      Array.from({ length: 6 }, (_, i) => traced({ otlp, cluster }, i % 2, image, "task=caption")),
    );
    const encoded = await otlp.until((all) => {
      const mine = all.filter(({ traceId }) => calls.some((spans) => spans[0]?.traceId === traceId));
      const made = named(mine, "florence.encode");
      return made.length === 1 ? { mine, made: made[0] as ExportedSpan } : undefined;
    });
    const waits = named(encoded.mine, "florence.encoding.wait");
    expect(waits.length).toBeGreaterThan(0);
    // Who joins, within a process, a call that itself waits for another process is linked to that call, and that one to the other.
    for (const wait of waits) {
      let at: string | undefined = wait.links[0]?.traceId;
      for (let hops = 0; at !== encoded.made.traceId && hops < 3; hops++) {
        at = waits.find(({ traceId }) => traceId === at)?.links[0]?.traceId;
      }
      expect(at).toBe(encoded.made.traceId);
    }
    const [batch] = named(encoded.mine, "florence.vision.batch") as [ExportedSpan];
    expect(encoded.made.links.map(({ spanId }) => spanId)).toEqual([batch.spanId]);
  });

  test("a streamed answer's span has its first token and each closed region", async () => {
    const spans = await traced({ otlp, cluster }, 1, await drawImage(4), "task=object_detection", {
      accept: "text/event-stream",
    });
    const [decode] = named(spans, "florence.decode") as [ExportedSpan];
    expect(decode.events.map(({ name }) => name)).toContain("florence.first_token");
    for (const { atMs } of decode.events) {
      expect(atMs).toBeGreaterThanOrEqual(decode.startMs - 50);
    }
  });

  test("a caller that does not want its trace kept costs no span", async () => {
    const traceId = crypto.randomUUID().replaceAll("-", "");
    const response = await fetch(`${cluster.urls[0]}/v1/annotate?task=caption&${short}`, {
      method: "POST",
      headers: { "content-type": "image/png", traceparent: `00-${traceId}-00f067aa0ba902b7-00` },
      body: await drawImage(5),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("x-trace-id")).toBe(traceId);
    await traced({ otlp, cluster }, 0, await drawImage(6), "task=caption"); // and whatever was before it has come
    expect(otlp.spans.filter((span) => span.traceId === traceId)).toEqual([]);
  });

  test("one that asks without a trace gets one of its own", async () => {
    const { status } = await annotateRaw(cluster.urls[1] as string, await drawImage(7), `task=caption&${short}`);
    expect(status).toBe(200);
    const root = await otlp.until((all) => named(all, "POST /v1/annotate").find(({ parentId }) => parentId === ""));
    expect(root.service).toBe("florence-gateway");
  });
});

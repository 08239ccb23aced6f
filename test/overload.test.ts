import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { type Cluster, drawImage, report, startCluster } from "./support/cluster.ts";

const query = "task=object_detection&num_beams=1&max_new_tokens=24";
// What the whole takes at one time; ten times as many are sent.
const capacity = 8;

describe("ten times as many requests as the system takes", () => {
  let cluster: Cluster;
  let image: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    const env = {
      FLORENCE_GATEWAY_REQUESTS_MAX: String(capacity),
      FLORENCE_GATEWAY_QUEUE_MAX: "4",
      FLORENCE_DECODER_REQUESTS_MAX: String(capacity),
      FLORENCE_DECODER_QUEUE_MAX: "8",
    };
    cluster = await startCluster({ nats: false, env });
    image = await drawImage(900);
    await annotateRaw(cluster.urls[0] as string, image, query);
  }, 60_000);
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  /** Clients that ask again and again for a while; a refused one waits a little, as Retry-After bids it in seconds. */
  async function load(clients: number, ms: number) {
    const accepted: number[] = [];
    const refused: number[] = [];
    const other: number[] = [];
    const until = performance.now() + ms;
    await Promise.all(
      Array.from({ length: clients }, async () => {
        while (performance.now() < until) {
          const began = performance.now();
          const response = await fetch(`${cluster.urls[0]}/v1/annotate?${query}`, {
            method: "POST",
            headers: { "content-type": "image/png" },
            body: image,
          });
          await response.arrayBuffer();
          const took = performance.now() - began;
          if (response.status === 200) accepted.push(took);
          else if (response.status === 429) {
            refused.push(took);
            expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
            await new Promise((resolve) => setTimeout(resolve, 250));
          } else other.push(response.status);
        }
      }),
    );
    return { accepted, refused, other };
  }

  test("those accepted are answered, the others are told to come again, and nothing breaks", {
    timeout: 60_000,
  }, async () => {
    const steady = await load(capacity, 4_000);
    const flooded = await load(10 * capacity, 6_000);
    expect(steady.refused.length + steady.other.length + flooded.other.length).toBe(0);
    expect(flooded.refused.length).toBeGreaterThan(0);
    const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1] as number;
    const rate = (of: { accepted: number[] }, s: number) => (of.accepted.length / s).toFixed(1);
    report(
      `steady ${rate(steady, 4)}/s, flooded ${rate(flooded, 6)}/s accepted (p50 ${median(flooded.accepted).toFixed(0)} ms), ${flooded.refused.length} refused (p50 ${median(flooded.refused).toFixed(0)} ms, p99 ${flooded.refused[Math.floor(0.99 * flooded.refused.length)]?.toFixed(0)} ms)`,
    );
    const after = await annotateRaw(cluster.urls[0] as string, image, query);
    expect(after.status).toBe(200);
    expect(await cluster.held()).toEqual({ requests: 0, sequences: 0, kvBytes: 0 });
  });
});

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, annotateRaw } from "./support/annotate.ts";
import { type Cluster, drawImage, haveNats, startCluster } from "./support/cluster.ts";

const short = "num_beams=1&max_new_tokens=12";
const ask = (cluster: Cluster, gateway: number, image: Uint8Array<ArrayBuffer>, task = "caption"): Promise<Answer> =>
  annotateRaw(cluster.urls[gateway % cluster.urls.length] as string, image, `task=${task}&${short}`);

describe.runIf(haveNats)("two gateways, three encoders, two decoders and NATS", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    // Nothing is refused here: what counts is how often images are encoded.
    const room = {
      FLORENCE_ENCODER_QUEUE_MAX: "2000",
      FLORENCE_DECODER_QUEUE_MAX: "2000",
      FLORENCE_GATEWAY_QUEUE_MAX: "2000",
      // A machine that runs other tests too may stall for longer than NATS is given; then an image is encoded twice, which is right but
      // not what is counted here.
      FLORENCE_NATS_READ_MS_MAX: "3000",
    };
    cluster = await startCluster({ gateways: 2, encoders: 3, decoders: 2, env: room });
  }, 60_000);
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  test("64 concurrent requests for one new image cost exactly one encoding", async () => {
    const image = await drawImage(1);
    const before = await cluster.encodings();
    const answers = await Promise.all(Array.from({ length: 64 }, (_, i) => ask(cluster, i, image)));
    expect(answers.map((a) => a.status)).toEqual(Array(64).fill(200));
    expect(new Set(answers.map((a) => a.results[0]?.text)).size).toBe(1);
    expect((await cluster.encodings()) - before).toBe(1);
  });

  test("50 images with 20 requests each cost exactly 50", { timeout: 120_000 }, async () => {
    const images = await Promise.all(Array.from({ length: 50 }, (_, i) => drawImage(100 + i)));
    const before = await cluster.encodings();
    const asked = Array.from({ length: 1000 }, (_, i) => ({
      image: images[(i * 7) % 50] as Uint8Array<ArrayBuffer>,
      i,
    }));
    const statuses: number[] = [];
    // 100 at a time, as many clients would; all at once would only measure the queues.
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        for (let next = asked.pop(); next; next = asked.pop())
          statuses.push((await ask(cluster, next.i, next.image)).status);
      }),
    );
    expect(statuses.filter((s) => s !== 200)).toEqual([]);
    expect(statuses).toHaveLength(1000);
    expect((await cluster.encodings()) - before).toBe(50);
  });

  test("a second task from another gateway, after every encoder was restarted, costs none and comes from NATS", async () => {
    const image = await drawImage(2);
    await ask(cluster, 0, image);
    await new Promise((resolve) => setTimeout(resolve, 500)); // write-behind
    for (const i of cluster.encoders.keys()) await cluster.killEncoder(i);
    await Promise.all(cluster.encoders.map((e) => e.start()));
    const before = await cluster.encodings();
    const again = await ask(cluster, 1, image, "object_detection");
    expect(again).toMatchObject({ status: 200, cache: { result: "hit", tier: "nats", encodings: 0 } });
    expect((await cluster.encodings()) - before).toBe(0);
  });

  test("killing the encoder that encodes costs at most one more encoding, and everyone is answered", {
    timeout: 90_000,
  }, async () => {
    for (let round = 0; round < 3; round++) {
      const image = await drawImage(300 + round);
      const before = await cluster.encodings();
      const answers = Promise.all(Array.from({ length: 24 }, (_, i) => ask(cluster, i, image)));
      await new Promise((resolve) => setTimeout(resolve, 15 + 10 * round));
      const victim = round % cluster.encoders.length;
      await cluster.killEncoder(victim);
      for (const answer of await answers) expect(answer.status).toBe(200);
      await cluster.encoders[victim]?.start();
      expect((await cluster.encodings()) - before).toBeLessThanOrEqual(2);
    }
  });

  test("nothing is held when all is answered", async () => {
    expect(await cluster.held()).toEqual({ requests: 0, sequences: 0, kvBytes: 0 });
  });
});

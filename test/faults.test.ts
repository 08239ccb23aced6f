import { setTimeout as sleep } from "node:timers/promises";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { type Cluster, drawImage, haveNats, report, startCluster } from "./support/cluster.ts";

const query = "task=object_detection&num_beams=1&max_new_tokens=16";

describe.runIf(haveNats)("NATS in trouble, under steady load", () => {
  let cluster: Cluster;
  const images: Uint8Array<ArrayBuffer>[] = [];
  const undisturbed = new Map<Uint8Array, string>();

  beforeAll(async () => {
    // Decoders with hardly any memory ask NATS for nearly every embedding, and the bucket holds two thirds of them.
    const env = { FLORENCE_DECODER_STORE_BYTES_MAX: "120000", FLORENCE_NATS_BYTES_MAX: "1048576" };
    cluster = await startCluster({ gateways: 1, encoders: 2, decoders: 2, env });
    for (let i = 0; i < 30; i++) images.push(await drawImage(500 + i));
    for (const image of images) undisturbed.set(image, (await answer(image)).text);
  }, 90_000);
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  async function answer(image: Uint8Array<ArrayBuffer>): Promise<{ status: number; text: string; ms: number }> {
    const began = performance.now();
    const { status, results } = await annotateRaw(cluster.urls[0] as string, image, query);
    return { status, text: results?.[0]?.text ?? "", ms: performance.now() - began };
  }

  /** Four clients ask on while something happens; every answer must be right. Prints what it cost. */
  async function under(what: string, trouble: () => Promise<void>): Promise<void> {
    const times: number[] = [];
    let going = true;
    let next = 0;
    const clients = Array.from({ length: 4 }, async () => {
      while (going) {
        const image = images[next++ % images.length] as Uint8Array<ArrayBuffer>;
        const { status, text, ms } = await answer(image);
        expect(status).toBe(200);
        expect(text).toBe(undisturbed.get(image));
        times.push(ms);
      }
    });
    await trouble();
    going = false;
    await Promise.all(clients);
    times.sort((a, b) => a - b);
    const at = (share: number) => Math.round(times[Math.floor(share * (times.length - 1))] as number);
    report(`${what}: ${times.length} answers, none wrong; ms p50 ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)}`);
    expect(times.length).toBeGreaterThan(10);
  }

  test("nothing wrong, for comparison; the bucket holds a fraction of the images and drops the oldest", () =>
    under("undisturbed", () => sleep(2_000)));

  test("frozen", () =>
    under("frozen", async () => {
      cluster.nats?.freeze();
      await sleep(3_000);
      cluster.nats?.thaw();
      await sleep(500);
    }));

  test("stopped and started again", () =>
    under("stopped", async () => {
      await cluster.nats?.stop();
      await sleep(2_000);
      await cluster.nats?.restart({ keepData: true });
      await sleep(1_500);
    }));

  test("every value in the bucket flipped, again and again", () =>
    under("flipped bytes", async () => {
      let flipped = 0;
      for (let i = 0; i < 5; i++) {
        flipped += await flipAll();
        await sleep(300);
      }
      expect(flipped).toBeGreaterThan(20);
    }));

  /** Flips one bit in the middle of every embedding that the bucket holds; how many those were. */
  async function flipAll(): Promise<number> {
    const connection = await connect({ servers: cluster.nats?.url as string });
    try {
      const streams = (await jetstreamManager(connection)).streams;
      const { state } = await streams.info("KV_florence-embeddings", { subjects_filter: ">" });
      let flipped = 0;
      for (const subject of Object.keys(state.subjects ?? {})) {
        const message = await streams.getMessage("KV_florence-embeddings", { last_by_subj: subject });
        if (!message || message.data.length < 100) continue; // a note that it was deleted
        const bytes = new Uint8Array(message.data);
        const at = bytes.length >> 1;
        bytes[at] = (bytes[at] as number) ^ 0x40;
        await jetstream(connection).publish(subject, bytes);
        flipped++;
      }
      return flipped;
    } finally {
      await connection.close();
    }
  }

  test("started again empty", () =>
    under("restarted empty", async () => {
      await cluster.nats?.restart({ keepData: false });
      await sleep(2_500);
    }));
});

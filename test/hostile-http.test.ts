import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { type Cluster, drawImage, startCluster } from "./support/cluster.ts";
import { hostileInputs, type Target } from "./support/hostile-http.ts";

const query = "task=object_detection&num_beams=1&max_new_tokens=16";
// So few that what is not given back is missed: one caller may have 12 and 48 MiB of them, which is asked for at the end.
const places = 16;
const heldBytesMax = 64 * 1024 * 1024;

describe("hostile HTTP, beside another caller", () => {
  let cluster: Cluster;
  let url: string;
  let target: Target;
  beforeAll(async () => {
    const env = {
      FLORENCE_GATEWAY_REQUESTS_MAX: String(places),
      FLORENCE_GATEWAY_QUEUE_MAX: "0",
      FLORENCE_HELD_BYTES_MAX: String(heldBytesMax),
    };
    cluster = await startCluster({ nats: false, env });
    url = cluster.urls[0] as string;
    const image = await drawImage(4711);
    const { image: answered } = await annotateRaw(url, image, query);
    target = { host: "127.0.0.1", port: Number(new URL(url).port), image, id: answered.id };
  }, 60_000);
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  /** Another caller asks again and again while something happens; what it was answered. */
  async function others(during: () => Promise<string>): Promise<{ answer: string; statuses: number[] }> {
    const statuses: number[] = [];
    let going = true;
    const asking = (async () => {
      do {
        statuses.push((await annotateRaw(url, target.image, query)).status);
        await sleep(20);
      } while (going);
    })();
    const answer = await during();
    going = false;
    await asking;
    return { answer, statuses };
  }

  test.each(hostileInputs.filter(({ long }) => !long))(
    "$kind, $what: refused or answered, and the other caller is served",
    async ({ send }) => {
      const { answer, statuses } = await others(() => send(target));
      expect(answer).toMatch(/^(closed|[2-4]\d\d\b|50[34]\b|\d+ x )/);
      expect(answer).not.toMatch(/\b50[0-2]\b/);
      expect(new Set(statuses)).toEqual(new Set([200]));
    },
    30_000,
  );

  test("a thousand honest calls at once from one address are answered or told to come again", async () => {
    const calls = Array.from({ length: 1_000 }, () => annotateRaw(url, target.image, query));
    const statuses = (await Promise.all(calls)).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
  }, 30_000);

  test("afterwards every place is there, and so is every byte", async () => {
    const small = Array.from({ length: 12 }, () => annotateRaw(url, target.image, query));
    expect(new Set((await Promise.all(small)).map(({ status }) => status))).toEqual(new Set([200]));
    const largest = new Uint8Array(16 * 1024 * 1024);
    const large = Array.from({ length: 3 }, () => annotateRaw(url, largest, query));
    // No images, as the encoder says.
    expect(new Set((await Promise.all(large)).map(({ status }) => status))).toEqual(new Set([415]));
    expect(await cluster.held()).toEqual({ requests: 0, sequences: 0, kvBytes: 0 });
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  }, 30_000);
});

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { type Cluster, drawImage, haveNats, report, residentBytes, startCluster } from "./support/cluster.ts";

/** Small seeded generator (mulberry32): the same requests on every machine, if not the same moments. */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const taskNames = ["caption", "object_detection", "ocr", "region_proposal", "dense_region_caption"] as const;

interface Asked {
  readonly image: number;
  readonly query: string;
}

describe.runIf(haveNats)("random requests while processes die and come back", () => {
  let cluster: Cluster;
  const images: Uint8Array<ArrayBuffer>[] = [];
  const kinds: Asked[] = [];
  const expected = new Map<Asked, string>();

  beforeAll(async () => {
    cluster = await startCluster({ gateways: 2, encoders: 2, decoders: 2 });
    for (let i = 0; i < 8; i++) images.push(await drawImage(700 + i));
    for (const image of images.keys())
      for (const task of taskNames)
        for (const beams of [1, 3]) kinds.push({ image, query: `task=${task}&num_beams=${beams}&max_new_tokens=20` });
    for (const kind of kinds) expected.set(kind, await textOf(kind, 0));
  }, 120_000);
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  async function textOf({ image, query }: Asked, gateway: number): Promise<string> {
    const answer = await annotateRaw(cluster.urls[gateway] as string, images[image] as Uint8Array<ArrayBuffer>, query);
    return answer.status === 200 && answer.results[0]?.text !== undefined
      ? answer.results[0].text
      : `${answer.status} ${answer.code ?? answer.results?.[0]?.error?.code}`;
  }

  /** Reads an event stream to its end, or until it is cut short; the text of the result, or what went wrong. */
  async function streamed({ image, query }: Asked, gateway: number, signal: AbortSignal): Promise<string> {
    const response = await fetch(`${cluster.urls[gateway]}/v1/annotate?${query}`, {
      method: "POST",
      headers: { "content-type": "image/png", accept: "text/event-stream" },
      body: images[image] as Uint8Array<ArrayBuffer>,
      signal,
    });
    const events = (await response.text()).split("\n\n");
    const data = (name: string) => events.find((e) => e.includes(`event: ${name}\n`))?.match(/^data: (.*)$/m)?.[1];
    const result = data("result");
    return result ? JSON.parse(result).text : `error ${data("error")}`;
  }

  test("every request that is answered is answered as if it were alone, and nothing is left behind", {
    timeout: 240_000,
  }, async () => {
    const next = random(11);
    const resident: number[] = [];
    for (let round = 0; round < 5; round++) {
      const wrong: string[] = [];
      let answered = 0;
      let failed = 0;
      let cancelled = 0;
      const one = async () => {
        const kind = kinds[Math.floor(next() * kinds.length)] as Asked;
        const gateway = Math.floor(next() * 2);
        const cut = next() < 0.2 ? AbortSignal.timeout(Math.ceil(next() * 150)) : undefined;
        const stream = cut !== undefined || next() < 0.4;
        try {
          const text = stream
            ? await streamed(kind, gateway, cut ?? AbortSignal.timeout(30_000))
            : await textOf(kind, gateway);
          if (text === expected.get(kind)) answered++;
          else if (/^(error|5\d\d|429) /.test(text)) failed++;
          else wrong.push(`${kind.query}: ${text}`);
        } catch (error) {
          if (cut?.aborted) cancelled++;
          else wrong.push(String(error));
        }
      };
      const clients = Array.from({ length: 10 }, async () => {
        for (let i = 0; i < 6; i++) await one();
      });
      if (round === 1 || round === 3) {
        await sleep(150);
        await cluster.decoders[round === 1 ? 0 : 1]?.kill();
        await cluster.killEncoder(round === 1 ? 1 : 0);
        await sleep(300);
        await Promise.all(
          [...cluster.decoders, ...cluster.encoders].filter((m) => m.pid === undefined).map((m) => m.start()),
        );
      }
      await Promise.all(clients);
      expect(wrong).toEqual([]);
      report(`round ${round}: ${answered} answered, ${failed} failed, ${cancelled} cancelled`);
      expect(answered + failed + cancelled).toBe(60);
      // A client hears of a failure only where its decoder died under tokens that it had already been sent.
      expect(failed).toBeLessThanOrEqual(round === 1 || round === 3 ? 12 : 0);
      await sleep(300);
      expect(await cluster.held()).toEqual({ requests: 0, sequences: 0, kvBytes: 0 });
      resident.push(cluster.gateways.reduce((n, m) => n + (residentBytes(m) ?? 0), 0));
    }
    // Gateways live through all rounds: what they hold after the first stays about what they hold.
    expect(resident.at(-1) as number).toBeLessThan(1.5 * (resident[1] as number) + 50e6);
  });
});

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { type Cluster, drawImage, report, residentBytes, startCluster } from "./support/cluster.ts";

const query = "task=object_detection&num_beams=1&max_new_tokens=16";

describe("clients that are slow, silent or gone", () => {
  let cluster: Cluster;
  let image: Uint8Array<ArrayBuffer>;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    cluster = await startCluster({ nats: false });
    image = await drawImage(1200);
    await annotateRaw(cluster.urls[0] as string, image, query);
  }, 60_000);
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await cluster?.[Symbol.asyncDispose]();
  });

  async function open(): Promise<Socket> {
    const { hostname, port } = new URL(cluster.urls[0] as string);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {}); // being cut off is what these clients are for
    sockets.push(socket);
    await once(socket, "connect");
    return socket;
  }

  /** Twenty ordinary requests, four at a time; all must be answered. */
  async function others(what: string): Promise<void> {
    const times: number[] = [];
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let i = 0; i < 5; i++) {
          const began = performance.now();
          expect((await annotateRaw(cluster.urls[0] as string, image, query)).status).toBe(200);
          times.push(performance.now() - began);
        }
      }),
    );
    times.sort((a, b) => a - b);
    report(`${what}: others wait ${times[10]?.toFixed(0)} ms at the median, ${times[19]?.toFixed(0)} at most`);
  }

  test("do not keep others from being answered, and are held in bounded memory", { timeout: 60_000 }, async () => {
    const [gateway] = cluster.gateways;
    await others("alone");
    const before = gateway ? residentBytes(gateway) : undefined;

    // A thousand connections that say nothing.
    for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 100 }, open));
    await others("beside 1,000 idle connections");

    // Twenty forms of 10 MB that come one byte at a time.
    const dribbling = await Promise.all(Array.from({ length: 20 }, open));
    const head =
      "POST /v1/annotate HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 10000000\r\n\r\n--b\r\n";
    for (const socket of dribbling) socket.write(head);
    const drip = setInterval(() => {
      for (const socket of dribbling) socket.write("x");
    }, 5);
    await others("beside 20 forms that come a byte at a time");
    clearInterval(drip);

    // Fifty event streams whose readers read nothing, and fifty that leave after the first event.
    const streams = await Promise.all(Array.from({ length: 100 }, open));
    const stream = `POST /v1/annotate?task=more_detailed_caption&num_beams=1&max_new_tokens=200 HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\ncontent-type: image/png\r\ncontent-length: ${image.length}\r\n\r\n`;
    for (const [i, socket] of streams.entries()) {
      socket.pause();
      socket.write(stream);
      socket.write(image);
      if (i % 2 === 1) socket.once("readable", () => socket.destroy());
    }
    await others("beside 100 streams that nobody reads");

    const after = gateway ? residentBytes(gateway) : undefined;
    if (before !== undefined && after !== undefined) {
      report(
        `gateway's memory: ${(before / 1e6).toFixed(0)} MB before, ${(after / 1e6).toFixed(0)} MB beside all of them`,
      );
      expect(after - before).toBeLessThan(300e6);
    }
    for (const socket of sockets) socket.destroy();
    for (let i = 0; i < 50 && (await cluster.held()).requests > 0; i++) await sleep(100);
    expect(await cluster.held()).toEqual({ requests: 0, sequences: 0, kvBytes: 0 });
  });
});

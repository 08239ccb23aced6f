import { createSocket, type RemoteInfo } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createResolvePublic } from "../src/node/resolve-public.ts";

const never = new AbortController().signal;

/** A name server that knows one address of each kind for every name, or says nothing at all. */
async function startNameServer({ silent = false } = {}) {
  const asked: string[] = [];
  const server = createSocket("udp4");
  server.on("message", (query: Buffer, from: RemoteInfo) => {
    let at = 12;
    const labels: string[] = [];
    for (let length = query[at] as number; length > 0; length = query[at] as number) {
      labels.push(query.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    asked.push(labels.join("."));
    if (silent) return;
    const type = query.readUInt16BE(at + 1);
    const data = type === 1 ? Buffer.from([93, 184, 215, 14]) : Buffer.from("20010db8000000000000000000000001", "hex");
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(0x8180, 2);
    head.writeUInt16BE(1, 6);
    head.writeUInt32BE(0, 8);
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc00c, 0); // The name that was asked for.
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt16BE(data.length, 10);
    server.send(Buffer.concat([head, query.subarray(12, at + 5), record, data]), from.port, from.address);
  });
  await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
  return {
    asked,
    servers: [`127.0.0.1:${server.address().port}`],
    [Symbol.dispose]: () => void server.close(),
  };
}

test("a name's addresses of both kinds come from DNS, and names of this machine's own are none", async () => {
  using names = await startNameServer();
  const resolve = createResolvePublic(names);
  expect(await resolve("images.test", never)).toEqual(["93.184.215.14", "2001:db8::1"]);
  expect(names.asked).toEqual(["images.test", "images.test"]);
});

test("a look-up ends with its call, and its place is the next one's", async () => {
  using names = await startNameServer({ silent: true });
  const resolve = createResolvePublic({ ...names, running: 1 });
  const leaving = new AbortController();
  const first = resolve("dead.test", leaving.signal);
  const second = resolve("second.test", AbortSignal.timeout(2_000));
  await sleep(100);
  expect(new Set(names.asked)).toEqual(new Set(["dead.test"])); // The second waits its turn.
  leaving.abort();
  await expect(first).rejects.toThrow();
  await expect(second).rejects.toThrow();
  expect(names.asked).toContain("second.test");
});

import type { RequestListener } from "node:http";
import { createServer, type Server } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { HeldBytes } from "../src/http/held-bytes.ts";
import { createUrlFetch, isPublicAddress } from "../src/node/url-fetch.ts";
import { certificate, privateKey } from "./tls.ts";

const never = new AbortController().signal;
const options = { redirectsMax: 3, timeoutMs: 5000, ca: certificate };
const loopback = async () => ["127.0.0.1"];
let server: Server;
let base: string;
let requests: string[] = [];

const answer: RequestListener = (request, response) => {
  const { host = "", pathname, searchParams } = new URL(`https://${request.headers.host}${request.url}`);
  requests.push(`${host}${pathname}`);
  const bytes = new Uint8Array(Number(searchParams.get("bytes") ?? 10));
  if (pathname === "/to") response.writeHead(302, { location: searchParams.get("url") ?? "" }).end();
  else if (pathname === "/chunked") response.write(bytes, () => response.end());
  else if (pathname === "/silent") response.writeHead(200).flushHeaders();
  else if (pathname === "/broken")
    response.writeHead(200, { "content-length": "100" }).write("x", () => response.destroy());
  else if (pathname === "/missing") response.writeHead(404).end();
  else response.writeHead(200, { "content-length": String(bytes.length) }).end(bytes);
};

beforeAll(async () => {
  server = createServer({ cert: certificate, key: privateKey }, answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `https://images.test:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Fetches with everything resolved to this machine and allowed there. */
async function fetchHere(url: string, bytesMax = 1000, extra: Partial<Parameters<typeof createUrlFetch>[0]> = {}) {
  const heldBytes = new HeldBytes(1e9);
  using account = heldBytes.open("");
  const fetchUrl = createUrlFetch({ ...options, resolve: loopback, addressAllowed: () => true, ...extra });
  const bytes = await fetchUrl(url, bytesMax, account, never);
  expect(heldBytes.held).toBe(bytes.length);
  return bytes;
}

const refusal = (code: string) => expect.objectContaining({ code });

test("an image is fetched over https from the address that was checked, redirects included", async () => {
  expect((await fetchHere(`${base}/image?bytes=1000`)).length).toBe(1000);
  requests = [];
  const other = base.replace("images.test", "other.test");
  expect((await fetchHere(`${base}/to?url=${encodeURIComponent(`${other}/image`)}`)).length).toBe(10);
  expect(requests.map((request) => request.replace(/:\d+/, ""))).toEqual(["images.test/to", "other.test/image"]);
});

test("more bytes than allowed are refused, announced or not", async () => {
  await expect(fetchHere(`${base}/image?bytes=1001`)).rejects.toEqual(refusal("image_too_large"));
  await expect(fetchHere(`${base}/chunked?bytes=1001`)).rejects.toEqual(refusal("image_too_large"));
});

test("the fourth redirect is one too many", async () => {
  const to = (url: string) => `${base}/to?url=${encodeURIComponent(url)}`;
  expect((await fetchHere(to(to(to(`${base}/image`))))).length).toBe(10);
  await expect(fetchHere(to(to(to(to(`${base}/image`)))))).rejects.toEqual(refusal("url_unreachable"));
});

test("a server that fails, stalls or lies makes the image unreachable", async () => {
  await expect(fetchHere(`${base}/missing`)).rejects.toEqual(refusal("url_unreachable"));
  await expect(fetchHere(`${base}/broken`)).rejects.toEqual(refusal("url_unreachable"));
  await expect(fetchHere(`${base}/silent`, 1000, { timeoutMs: 200 })).rejects.toEqual(refusal("url_unreachable"));
  await expect(fetchHere("https://images.test:1/")).rejects.toEqual(refusal("url_unreachable"));
  await expect(fetchHere(`${base}/`, 1000, { resolve: async () => [] })).rejects.toEqual(refusal("url_unreachable"));
  await expect(fetchHere(`${base}/`, 1000, { resolve: () => new Promise(() => {}), timeoutMs: 200 })).rejects.toEqual(
    refusal("url_unreachable"),
  );
  await expect(fetchHere(base.replace("images.test", "unnamed.test"))).rejects.toEqual(refusal("url_unreachable"));
});

/** A TLS server that says this to whoever connects, and perhaps nothing more for ever. */
async function sayingServer(text: string, { end = false } = {}) {
  const sockets = new Set<TLSSocket>();
  const saying = createTlsServer({ cert: certificate, key: privateKey }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // Being left is what it is for.
    socket.once("data", () => (end ? socket.end(text) : socket.write(text)));
  });
  await new Promise<void>((resolve) => saying.listen(0, "127.0.0.1", resolve));
  return {
    url: `https://images.test:${(saying.address() as AddressInfo).port}/`,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      saying.close();
    },
  };
}

test("whatever a server says instead of an answer, and whether it then ends or not, the image is unreachable in time", async () => {
  const odd = [
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
    "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(20_000)}`,
    "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/9.9 200 OK\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\n",
    "nonsense",
    "",
  ];
  for (const text of odd)
    for (const end of [false, true]) {
      using saying = await sayingServer(text, { end });
      await expect(fetchHere(saying.url, 1000, { timeoutMs: 500 }), text.slice(0, 60)).rejects.toEqual(
        refusal("url_unreachable"),
      );
    }
}, 30_000);

test("a server that never gets to TLS makes the image unreachable, and no connection to it is left", async () => {
  const sockets = new Set<Socket>();
  const mute = createTcpServer((socket) => {
    sockets.add(socket.on("error", () => {}).resume());
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  const url = `https://images.test:${(mute.address() as AddressInfo).port}/`;
  await expect(fetchHere(url, 1000, { timeoutMs: 300 })).rejects.toEqual(refusal("url_unreachable"));
  await vi.waitFor(() => expect(sockets.size).toBe(0));
  mute.close();
});

test("a server that gives up its connection after the answer has an image all the same", async () => {
  using saying = await sayingServer("HTTP/1.1 200 OK\r\n\r\nabc", { end: true });
  expect(Buffer.from(await fetchHere(saying.url)).toString()).toBe("abc");
});

test("a call that ends takes its fetch along, at every stage of it", async () => {
  for (const [path, resolve] of [
    ["/silent", loopback],
    ["/", () => new Promise<never>(() => {})],
  ] as const) {
    const leaving = new AbortController();
    const fetchUrl = createUrlFetch({ ...options, resolve, addressAllowed: () => true });
    const fetching = fetchUrl(`${base}${path}`, 1000, new HeldBytes(1e9).open(""), leaving.signal);
    setTimeout(() => leaving.abort(), 50);
    await expect(fetching).rejects.toEqual(refusal("url_unreachable"));
  }
});

test("only https without credentials is fetched, also after a redirect", async () => {
  for (const url of [
    "http://images.test/",
    "ftp://images.test/",
    "file:///etc/passwd",
    "https://a:b@images.test/",
    "image.png",
    "",
  ]) {
    await expect(fetchHere(url), url).rejects.toEqual(refusal("url_forbidden"));
    if (url.includes(":"))
      await expect(fetchHere(`${base}/to?url=${encodeURIComponent(url)}`), url).rejects.toEqual(
        refusal("url_forbidden"),
      );
  }
});

test("no address of this machine or a private network is reached, by number, by name or by redirect", async () => {
  requests = [];
  const guarded = (url: string, resolve = loopback) =>
    fetchHere(url, 1000, { addressAllowed: isPublicAddress, resolve });
  const { port } = server.address() as AddressInfo;
  for (const host of [
    "127.0.0.1",
    "[::1]",
    "0.0.0.0",
    "0x7f000001",
    "2130706433",
    "[::ffff:127.0.0.1]",
    "169.254.169.254",
    "images.test",
    // Other notations of the same places.
    ...["127.1", "127.0.1", "0177.0.0.1", "0x7f.1", "017700000001", "127.0.0.1.", "①②⑦.⓪.⓪.①", "127。0。0。1"],
    ...[
      "0",
      "0.0.0.0.",
      "00000000000",
      "0x0",
      "10.1",
      "0xa000001",
      "192.168.257",
      "3232235777",
      "0xa9fea9fe",
      "169.16689662",
    ],
    ...[
      "[::]",
      "[0:0:0:0:0:0:0:1]",
      "[0000::0001]",
      "[::127.0.0.1]",
      "[::7f00:1]",
      "[::ffff:7f00:1]",
      "[::ffff:0:7f00:1]",
    ],
    ...[
      "[64:ff9b::7f00:1]",
      "[64:ff9b:1::1]",
      "[2002:7f00:1::]",
      "[2001::1]",
      "[fe80::1]",
      "[fc00::1]",
      "[fec0::1]",
      "[ff02::1]",
    ],
    ...[
      "[100::1]",
      "[2001:db8::1]",
      "[3fff::1]",
      "[5f00::1]",
      "100.64.0.1",
      "192.0.0.1",
      "198.18.0.1",
      "224.0.0.1",
      "255.255.255.255",
    ],
  ]) {
    await expect(guarded(`https://${host}:${port}/`), host).rejects.toEqual(refusal("url_forbidden"));
  }
  const mixed = async () => ["93.184.215.14", "10.0.0.1"];
  await expect(guarded(`${base}/`, mixed)).rejects.toEqual(refusal("url_forbidden"));
  expect(requests).toEqual([]);

  // The first hop is allowed, the redirect leads inside.
  const onlyFirst = (address: string) => address === "127.0.0.1";
  const inside = `${base}/to?url=${encodeURIComponent("https://10.0.0.1/")}`;
  await expect(fetchHere(inside, 1000, { addressAllowed: onlyFirst })).rejects.toEqual(refusal("url_forbidden"));
});

test("public and other addresses are told apart", () => {
  const open = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"];
  const closed = [
    ...[
      "0.0.0.0",
      "10.1.2.3",
      "100.64.0.1",
      "127.1.2.3",
      "169.254.169.254",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.1.1",
    ],
    ...["192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
    ...[
      "::",
      "::1",
      "::ffff:1.1.1.1",
      "64:ff9b::7f00:1",
      "fc00::1",
      "fd12::1",
      "fe80::1",
      "ff02::1",
      "2001::1",
      "2001:db8::1",
      "2002:7f00:1::",
    ],
    ...["localhost", "", "1.1.1"],
  ];
  expect(open.filter((address) => !isPublicAddress(address))).toEqual([]);
  expect(closed.filter(isPublicAddress)).toEqual([]);
});

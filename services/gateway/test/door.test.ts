import { connect } from "node:net";
import { expect, test } from "vitest";
import { data, image, type Json, problemOf, startStack } from "./stack.ts";

const call = { image: { data }, tasks: [{ task: "phrase_grounding", text: "a cat" }] };

test("on loopback a server is called by the machine's own names, and by others that are allowed", async () => {
  await using stack = await startStack({ env: { FLORENCE_ALLOWED_HOSTS: "images.test, other.test" } });
  const asked = (host: string) => rawStatus(stack.port, `GET /v1/tasks HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
  for (const host of ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:1", "images.test", "Other.Test:443"])
    expect(await asked(host), host).toBe(200);
  for (const host of ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test", "127.0.0.2", "10.0.0.1", "[::2]"])
    expect(await asked(host), host).toBe(403);
  // Whoever runs it may ask how it is by any name.
  expect(await rawStatus(stack.port, "GET /readyz HTTP/1.1\r\nhost: 10.0.0.1\r\n\r\n")).toBe(200);
});

test("bound to all addresses a server is called by any name, unless names are given", async () => {
  await using open = await startStack({ env: { FLORENCE_HOST: "0.0.0.0" } });
  expect(await rawStatus(open.port, "GET /v1/tasks HTTP/1.1\r\nhost: any.test\r\n\r\n")).toBe(200);
  await using named = await startStack({ env: { FLORENCE_HOST: "0.0.0.0", FLORENCE_ALLOWED_HOSTS: "api.test" } });
  expect(await rawStatus(named.port, "GET /v1/tasks HTTP/1.1\r\nhost: any.test\r\n\r\n")).toBe(403);
  expect(await rawStatus(named.port, "GET /v1/tasks HTTP/1.1\r\nhost: api.test\r\n\r\n")).toBe(200);
});

test("a page of another site cannot drive a server on loopback, and one of this machine can", async () => {
  await using stack = await startStack();
  const from = (site: string) => stack.json(call, "/v1/annotate", { headers: { "sec-fetch-site": site } });
  expect(await problemOf(await from("cross-site"))).toMatchObject({ status: 403, code: "caller_forbidden" });
  for (const site of ["same-origin", "same-site", "none"]) expect((await from(site)).status).toBe(200);
  expect(stack.encodes).toHaveLength(3);
});

test("every answer says that it is what it says it is, and shows in no frame", async () => {
  await using stack = await startStack();
  for (const path of ["/healthz", "/v1/nothing", "/v1/tasks"]) {
    const { headers } = await stack.get(path);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("x-frame-options")).not.toBeNull();
    expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
  }
});

test("a field called __proto__ is unknown like any other, in every form", async () => {
  await using stack = await startStack();
  const form = (name: string, value: string) => {
    const fields = new FormData();
    fields.set("image", new Blob([image]), "a.png");
    fields.set("tasks", '[{"task":"caption"}]');
    fields.set(name, value);
    return fetch(`${stack.url}/v1/annotate`, { method: "POST", body: fields });
  };
  const own = JSON.stringify({ tasks: [{ task: "caption" }] });
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    for (const asked of [
      form(name, own),
      form("options", `{"${name}":true}`),
      stack.raw(`task=caption&${name}=1`),
      stack.json(JSON.parse(`{"image":{"data":"${data}"},"tasks":[{"task":"caption"}],"${name}":${own}}`)),
      stack.json(JSON.parse(`{"image":{"data":"${data}","${name}":1},"tasks":[{"task":"caption"}]}`)),
    ])
      expect((await problemOf(await asked)).detail, name).toMatch(new RegExp(`${name}: this field is not known`));
  }
  const onlyProto = new FormData();
  onlyProto.set("image", new Blob([image]), "a.png");
  onlyProto.set("__proto__", own);
  expect((await fetch(`${stack.url}/v1/annotate`, { method: "POST", body: onlyProto })).status).toBe(400);
  expect(stack.encodes).toHaveLength(0);
});

test("a text that a tokenizer would read as another is refused, in every form", async () => {
  await using stack = await startStack();
  for (const bad of ["a\0b", "\u0007", "\ud800", "x\udc00y", "\u007f", "\u009b", "\u001b[2J"]) {
    const tasks = [{ task: "phrase_grounding", text: bad }];
    const asked = await stack.json({ image: { data }, tasks });
    expect(await problemOf(asked), JSON.stringify(bad)).toMatchObject({ status: 400, code: "body_invalid" });
    const list = [{ task: "open_vocabulary_detection", text: ["cat", bad] }];
    expect((await problemOf(await stack.json({ image: { data }, tasks: list }))).code).toBe("body_invalid");
  }
  expect((await problemOf(await stack.raw("task=phrase_grounding:a%00b"))).code).toBe("body_invalid");
  expect((await problemOf(await stack.raw("task=phrase_grounding:a%C2%9Bb"))).code).toBe("body_invalid");
  for (const good of ["a\tb", "two\nlines", "😀 ü שלום", "\u200d\ufeff"])
    expect((await stack.json({ image: { data }, tasks: [{ task: "phrase_grounding", text: good }] })).status).toBe(200);
});

test("base64 with line breaks is an image, as command-line tools and mail write it", async () => {
  await using stack = await startStack();
  const sent = new Uint8Array(500).map((_, i) => i);
  const lines = Buffer.from(sent)
    .toString("base64")
    .replace(/(.{76})/g, "$1\n");
  expect((await stack.json({ ...call, image: { data: lines } })).status).toBe(200);
  expect(Buffer.compare(stack.encodes[0]?.image as Uint8Array, sent)).toBe(0);
});

test("a form is read whatever its pieces, and what follows its end changes nothing", async () => {
  await using stack = await startStack();
  const sent = new Uint8Array(200_000).map((_, i) => i * 13);
  const head = '--b\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n';
  const tail = '\r\n--b\r\ncontent-disposition: form-data; name="tasks"\r\n\r\n[{"task":"caption"}]\r\n--b--';
  for (const [pieceBytes, after] of [
    [7, ""],
    [1000, "\r\n"],
    [65_536, "\r\n"],
    [1_000_000, "\r\n\r\n"],
  ] as const) {
    const whole = Buffer.concat([Buffer.from(head), sent, Buffer.from(tail + after)]);
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= whole.length) return controller.close();
        controller.enqueue(whole.subarray(at, at + pieceBytes));
        at += pieceBytes;
      },
    });
    const response = await fetch(`${stack.url}/v1/annotate`, {
      method: "POST",
      headers: { "content-type": "multipart/form-data; boundary=b" },
      body,
      duplex: "half",
    } as RequestInit);
    expect(response.status, `${pieceBytes}`).toBe(200);
    expect(Buffer.compare(stack.encodes.at(-1)?.image as Uint8Array, sent)).toBe(0);
  }
});

test("a file under another name is told what the field is called", async () => {
  await using stack = await startStack();
  const form = new FormData();
  form.set("file", new Blob([image]), "a.png");
  form.set("tasks", '[{"task":"caption"}]');
  const asked = await fetch(`${stack.url}/v1/annotate`, { method: "POST", body: form });
  expect((await problemOf(asked)).detail).toBe("file: the field with the file is called image.");
});

test("an image id shows nothing of what is in it", async () => {
  await using stack = await startStack();
  const { id } = ((await (await stack.json(call)).json()) as Json).image;
  const bytes = Buffer.from(id, "base64url");
  for (const text of ["127.0.0.1", ".key", "d1d1", "holder", '["']) expect(bytes.includes(text), text).toBe(false);
});

/** Speaks for itself: fetch has its own mind about the Host header. */
async function rawStatus(port: number, head: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", reject);
    socket.once("data", (answer) => {
      resolve(Number(String(answer).slice(9, 12)));
      socket.destroy();
    });
    socket.write(head);
  });
}

test("behind a trusted proxy each of its callers has a share, and one that has its own leaves the others theirs", async () => {
  const release = Promise.withResolvers<void>();
  const env = {
    FLORENCE_TRUSTED_PROXIES: "127.0.0.1",
    FLORENCE_GATEWAY_REQUESTS_MAX: "4",
    FLORENCE_GATEWAY_QUEUE_MAX: "0",
  };
  const greedy = new Uint8Array([9]);
  await using stack = await startStack({
    env,
    encoder: {
      encode: async (request) => {
        if (request.image[0] === 9) await release.promise;
        return { key: "k", width: 10, height: 10, holder: "127.0.0.1:1" };
      },
    },
  });
  const from = (caller: string, body: Uint8Array<ArrayBuffer>) =>
    fetch(`${stack.url}/v1/annotate?task=caption`, {
      method: "POST",
      headers: { "content-type": "image/png", "x-forwarded-for": caller },
      body,
    });
  const held = [1, 2, 3].map(() => from("198.51.100.1", greedy));
  await expect.poll(() => stack.encodes.length).toBe(3);
  expect((await problemOf(await from("198.51.100.1", image))).code).toBe("overloaded");
  expect((await from("198.51.100.2", image)).status).toBe(200);
  expect((await from("192.0.2.1, 198.51.100.3", image)).status).toBe(200);
  // What it says in front of the proxy's own word gives nobody another share.
  expect((await problemOf(await from("198.51.100.77, 198.51.100.1", image))).code).toBe("overloaded");
  release.resolve();
  for (const answer of held) expect((await answer).status).toBe(200);
});

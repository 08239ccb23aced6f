import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Where hostile input goes. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** A small image that the server can read. */
  readonly image: Uint8Array<ArrayBuffer>;
  /** An id that the server gave out for it. */
  readonly id: string;
}

export interface Hostile {
  readonly kind: string;
  readonly what: string;
  /** Left out where a test has seconds, not minutes. */
  readonly long?: boolean;
  /** Sends it; says what was answered: a status with its code, "closed", or how often each came. */
  readonly send: (target: Target) => Promise<string>;
}

const MiB = 1024 * 1024;
const pieceBytes = 64 * 1024;

/** A body that need not stand in memory as a whole: what comes, in order. */
type Body = string | Uint8Array | Iterable<string | Uint8Array>;

/** The same text again and again, of about so many bytes. */
function* repeated(text: string, bytes: number): Generator<string> {
  const piece = text.repeat(Math.max(1, Math.floor(pieceBytes / text.length)));
  for (let sent = 0; sent < bytes; sent += piece.length) yield piece;
}

function* joined(...parts: readonly Body[]): Generator<string | Uint8Array> {
  for (const part of parts) {
    if (typeof part === "string" || part instanceof Uint8Array) yield part;
    else yield* part;
  }
}

/** Sends bytes as they are; what came back within the time, decoded as far as it is a problem. */
async function raw(target: Target, body: Body, waitMs = 15_000): Promise<string> {
  const socket = await open(target);
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  const closed = happens(socket, "close");
  const waiting = new AbortController();
  const waited = sleep(waitMs, undefined, { signal: waiting.signal }).catch(() => {});
  const ended = Promise.race([closed, waited, answered(() => text, waiting.signal)]);
  const pieces = typeof body === "string" || body instanceof Uint8Array ? [body] : body;
  for (const piece of pieces) {
    if (socket.destroyed || text !== "") break;
    if (!socket.write(piece)) await Promise.race([happens(socket, "drain"), ended]);
  }
  await ended;
  waiting.abort();
  socket.destroy();
  return said(text);
}

async function answered(text: () => string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !/\r\n\r\n[\s\S]/.test(text())) await sleep(10);
}

/** "413 body_too_large" of an answer, "closed" of none. */
function said(text: string): string {
  const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
  const code = /"code":"(\w+)"/.exec(text)?.[1];
  return status === undefined ? "closed" : code === undefined ? status : `${status} ${code}`;
}

async function open({ host, port }: Target): Promise<Socket> {
  const socket = connect(port, host);
  socket.setEncoding("latin1");
  socket.on("error", () => {}); // Being cut off is what these clients are for.
  await Promise.race([happens(socket, "connect"), happens(socket, "close")]);
  return socket;
}

/** Unlike events.once it does not mind an error: what comes of it is that the socket closes. */
function happens(socket: Socket, event: "connect" | "drain" | "close"): Promise<void> {
  return new Promise((resolve) => void socket.once(event, () => resolve()));
}

function head(path: string, headers: Record<string, string | number>): string {
  const lines = Object.entries({ host: "localhost", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** A body in chunks, so that nobody need know its length. */
function* chunked(body: Body): Generator<string | Uint8Array> {
  for (const piece of joined(body)) {
    const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
    if (bytes.length === 0) continue;
    yield `${bytes.length.toString(16)}\r\n`;
    yield bytes;
    yield "\r\n";
  }
  yield "0\r\n\r\n";
}

const post = (target: Target, type: string, body: Body, path = "/v1/annotate") =>
  raw(target, joined(head(path, { "content-type": type, "transfer-encoding": "chunked" }), chunked(body)));
const json = (target: Target, body: Body) => post(target, "application/json", body);
const form = (target: Target, body: Body, boundary = "b") =>
  post(target, `multipart/form-data; boundary=${boundary}`, body);
const file = '--b\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n';
const field = (name: string, value: string) =>
  `\r\n--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}`;
const base64 = ({ image }: Target) => Buffer.from(image).toString("base64");
const about = (target: Target, tasks: unknown, more = "") =>
  json(target, `{"image":{"data":"${base64(target)}"},"tasks":${JSON.stringify(tasks)}${more}}`);
const byUrl = (target: Target, url: string) =>
  json(target, JSON.stringify({ image: { url }, tasks: [{ task: "caption" }] }));
const byId = (target: Target, id: string) =>
  json(target, JSON.stringify({ image: { id }, tasks: [{ task: "caption" }] }));

/** Many connections that each do one thing; how often each answer came. */
async function many(target: Target, count: number, first: string, holdMs: number, drip = ""): Promise<string> {
  const sockets = await Promise.all(Array.from({ length: count }, () => open(target)));
  const texts = sockets.map(() => "");
  for (const [i, socket] of sockets.entries()) {
    socket.on("data", (chunk) => {
      texts[i] = `${texts[i]}${chunk}`;
    });
    socket.write(first, "latin1");
  }
  const dripping = setInterval(() => {
    for (const socket of sockets) if (drip !== "" && !socket.destroyed) socket.write(drip);
  }, 100);
  await sleep(holdMs);
  clearInterval(dripping);
  for (const socket of sockets) socket.destroy();
  const counts = Map.groupBy(texts.map(said), (text) => text);
  return [...counts].map(([text, of]) => `${of.length} x ${text}`).join(", ");
}

const oneByte = (type: string, path = "/v1/annotate") =>
  `${head(path, { "content-type": type, "content-length": 10_000_000 })}x`;
const streamed = (target: Target) =>
  `${head("/v1/annotate?task=more_detailed_caption&max_new_tokens=200", {
    accept: "text/event-stream",
    "content-type": "image/png",
    "content-length": target.image.length,
  })}${Buffer.from(target.image).toString("latin1")}`;

/** Changes one bit of an id. */
function flipped(id: string, at: number): string {
  const bytes = Buffer.from(id, "base64url");
  bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ 1;
  return bytes.toString("base64url");
}

const row = (kind: string, what: string, send: Hostile["send"], long = false): Hostile => ({ kind, what, send, long });

/** Input that once took the server down or held it up, and its relatives. What is answered must be a refusal or an answer, never a 500. */
export const hostileInputs: readonly Hostile[] = [
  row("slow senders", "330 connections, an image's first byte", (t) =>
    many(t, 330, oneByte("image/png", "/v1/annotate?task=caption"), 2_000),
  ),
  row(
    "slow senders",
    "330 connections, a JSON body's first byte",
    (t) => many(t, 330, oneByte("application/json"), 3_000),
    true,
  ),
  row(
    "slow senders",
    "330 connections, a form's first byte",
    (t) => many(t, 330, oneByte("multipart/form-data; boundary=b"), 3_000),
    true,
  ),
  row(
    "slow senders",
    "1,200 connections, a form's first byte",
    (t) => many(t, 1_200, oneByte("multipart/form-data; boundary=b"), 4_000),
    true,
  ),
  row(
    "slow senders",
    "100 connections, ten bytes a second",
    (t) => many(t, 100, oneByte("image/png", "/v1/annotate?task=caption"), 5_000, "x"),
    true,
  ),
  row(
    "slow senders",
    "1,000 connections, half a header",
    (t) => many(t, 1_000, "POST /v1/annotate HTTP/1.1\r\nhost: localh", 3_000),
    true,
  ),
  row("slow senders", "1,000 connections that say nothing", (t) => many(t, 1_000, "", 2_000), true),

  row("JSON", "22 MB of empty objects", (t) => json(t, joined('{"x":[', repeated("{},", 22 * MiB)))),
  row("JSON", "22 MB of numbers", (t) => json(t, joined("[", repeated("1,", 22 * MiB)))),
  row("JSON", "22 MB of open brackets", (t) => json(t, repeated("[", 22 * MiB))),
  row("JSON", "22 MB of open objects", (t) => json(t, repeated('{"a":', 22 * MiB))),
  row("JSON", "22 MB of blanks", (t) => json(t, repeated(" ", 22 * MiB)), true),
  row("JSON", "22 MB of one string", (t) => json(t, joined('{"x":"', repeated("x", 22 * MiB)))),
  row("JSON", "22 MB of names", (t) => json(t, joined("{", repeated('"a":1,', 22 * MiB))), true),
  row("JSON", "1 MiB of tasks that are none", (t) =>
    json(t, joined('{"tasks":[', repeated("{},", MiB - 2 * pieceBytes), '{}],"image":{"id":"x"}}')),
  ),
  row("JSON", "39,000 tasks", (t) => json(t, joined('{"image":{"id":"x"},"tasks":[', "{},".repeat(19_000), "{}]}"))),
  row("JSON", "an image of escaped slashes", (t) =>
    json(t, joined('{"image":{"data":"', repeated("\\/", 22 * MiB), '"},"tasks":[{"task":"caption"}]}')),
  ),
  row(
    "JSON",
    "an image of escaped code points",
    (t) => json(t, joined('{"image":{"data":"', repeated("\\u0041", 22 * MiB), '"},"tasks":[{"task":"caption"}]}')),
    true,
  ),
  row(
    "JSON",
    "an image of line breaks",
    (t) => json(t, joined('{"image":{"data":"', repeated("\\n", 22 * MiB), '"},"tasks":[{"task":"caption"}]}')),
    true,
  ),
  row("JSON", "an image twice", (t) => json(t, `{"image":{"data":"${base64(t)}"},"image":{"data":"${base64(t)}"}}`)),
  row("JSON", "no UTF-8", (t) => json(t, new Uint8Array([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]))),
  row("JSON", "a number beyond all", (t) => about(t, [{ task: "caption" }], ',"options":{"length_penalty":1e400}')),
  row("JSON", "__proto__ of everything", (t) => about(t, [{ task: "caption" }], ',"__proto__":{"stream":true}')),

  row(
    "forms",
    "230,000 parts",
    (t) => form(t, joined(file, t.image, repeated(field("a", "1"), 16 * MiB), "\r\n--b--")),
    true,
  ),
  row("forms", "1,000 parts", (t) => form(t, joined(file, t.image, field("a", "1").repeat(1_000), "\r\n--b--"))),
  row("forms", "a part's header without end", (t) => form(t, joined("--b\r\nx: ", repeated("y", 16 * MiB)))),
  row("forms", "a part without end", (t) => form(t, joined(file, repeated("x", 17 * MiB)))),
  row("forms", "half boundaries alone", (t) => form(t, joined(file, repeated("\r\n--", 16 * MiB))), true),
  row("forms", "a boundary that nearly matches everywhere", (t) =>
    form(
      t,
      joined(
        `--${"-".repeat(66)}b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n`,
        repeated("-", 16 * MiB),
      ),
      `${"-".repeat(66)}b`,
    ),
  ),
  row("forms", "a boundary of 8,000 characters", (t) => form(t, "--x", "x".repeat(8_000))),
  row("forms", "a field of 1 MiB of values", (t) =>
    form(t, joined(file, t.image, field("tasks", "["), repeated("1,", MiB - 2 * pieceBytes), "1]\r\n--b--")),
  ),
  row("forms", "a field of 8 MiB", (t) =>
    form(t, joined(file, t.image, field("tasks", '"'), repeated("x", 8 * MiB), '"\r\n--b--')),
  ),
  row("forms", "a field called __proto__", (t) =>
    form(t, joined(file, t.image, field("__proto__", '{"tasks":[{"task":"caption"}]}'), "\r\n--b--")),
  ),
  row("forms", "cut off", (t) => form(t, joined(file, t.image))),
  row("forms", "no boundary", (t) => post(t, "multipart/form-data", "x")),

  row("HTTP", "two lengths", (t) =>
    raw(t, "POST /v1/annotate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
  ),
  row("HTTP", "a length and chunks", (t) =>
    raw(
      t,
      "POST /v1/annotate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
  ),
  row("HTTP", "a chunk of negative length", (t) =>
    raw(
      t,
      joined(
        head("/v1/annotate?task=caption", { "content-type": "image/png", "transfer-encoding": "chunked" }),
        "-1\r\nx\r\n",
      ),
    ),
  ),
  row("HTTP", "a chunk's extension of 1 MiB", (t) =>
    raw(
      t,
      joined(
        head("/v1/annotate?task=caption", { "content-type": "image/png", "transfer-encoding": "chunked" }),
        "1;",
        repeated("x", MiB),
      ),
    ),
  ),
  row("HTTP", "20 kB of headers", (t) =>
    raw(t, `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(20_000)}\r\n\r\n`),
  ),
  row("HTTP", "a folded header", (t) => raw(t, "GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n")),
  row("HTTP", "CONNECT", (t) => raw(t, "CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n\r\n", 3_000)),
  row("HTTP", "an upgrade", (t) =>
    raw(t, "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 3_000),
  ),
  row("HTTP", "another host", (t) => raw(t, "GET /v1/tasks HTTP/1.1\r\nhost: evil.test\r\n\r\n")),
  row("HTTP", "another host by its whole address", (t) =>
    raw(t, "GET http://evil.test/v1/tasks HTTP/1.1\r\nhost: localhost\r\n\r\n"),
  ),
  row("HTTP", "a page of another site", (t) =>
    raw(
      t,
      joined(
        head("/v1/annotate?task=caption", {
          "sec-fetch-site": "cross-site",
          "content-type": "image/png",
          "content-length": t.image.length,
        }),
        t.image,
      ),
    ),
  ),
  row("HTTP", "200 requests at once on one connection", (t) =>
    raw(t, "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200)),
  ),
  row("HTTP", "a length of more than there is", (t) =>
    raw(
      t,
      head("/v1/annotate?task=caption", { "content-type": "image/png", "content-length": "99999999999999999999" }),
    ),
  ),
  row("HTTP", "17 MB announced", (t) =>
    raw(t, head("/v1/annotate?task=caption", { "content-type": "image/png", "content-length": 17 * MiB })),
  ),

  row("queries", "1,000 tasks", (t) => post(t, "image/png", t.image, `/v1/annotate?${"task=ocr&".repeat(1_000)}`)),
  row("queries", "__proto__", (t) => post(t, "image/png", t.image, "/v1/annotate?task=caption&__proto__=1")),
  row("queries", "an option twice", (t) =>
    post(t, "image/png", t.image, "/v1/annotate?task=caption&num_beams=1&num_beams=2"),
  ),
  row("queries", "a NUL", (t) => post(t, "image/png", t.image, "/v1/annotate?task=phrase_grounding:%00")),

  row("prompts", "half a surrogate pair", (t) => about(t, [{ task: "phrase_grounding", text: "\ud800" }])),
  row("prompts", "control characters", (t) => about(t, [{ task: "phrase_grounding", text: "\u001b[2J\u0007" }])),
  row("prompts", "a megabyte of text", (t) => about(t, [{ task: "phrase_grounding", text: "x".repeat(900_000) }])),
  row("prompts", "32 texts of 2,000 characters", (t) =>
    about(
      t,
      Array.from({ length: 32 }, () => ({ task: "phrase_grounding", text: "\u{1F600}".repeat(1_000) })),
    ),
  ),
  row("prompts", "39,000 classes", (t) =>
    about(t, [{ task: "open_vocabulary_detection", text: Array.from({ length: 39_000 }, () => "a") }]),
  ),

  row("ids", "one bit changed", (t) => byId(t, flipped(t.id, 40))),
  row("ids", "another version", (t) => byId(t, flipped(t.id, 0))),
  row("ids", "a megabyte", (t) => byId(t, "A".repeat(900_000))),
  row("ids", "none", (t) => byId(t, "../../etc/passwd")),

  row("URLs", "loopback in octal", (t) => byUrl(t, "https://0177.0.0.1/")),
  row("URLs", "loopback in IPv6 of IPv4", (t) => byUrl(t, "https://[::ffff:127.0.0.1]/")),
  row("URLs", "a cloud's metadata in one number", (t) => byUrl(t, "https://2852039166/latest/meta-data")),
  row("URLs", "a file", (t) => byUrl(t, "file:///etc/passwd")),
  row("URLs", "plain HTTP", (t) => byUrl(t, "http://localhost/")),
  row("URLs", "credentials", (t) => byUrl(t, "https://a:b@images.test/")),

  row("readers", "50 streams that nobody reads", (t) => many(t, 50, streamed(t), 3_000), true),
  row("readers", "50 streams that are left at once", (t) => many(t, 50, streamed(t), 20), true),
  row("readers", "20 calls that are left half sent", (t) => many(t, 20, streamed(t).slice(0, -10), 50)),
];

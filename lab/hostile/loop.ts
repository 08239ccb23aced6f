// How long the longest piece of work is that reading a hostile body puts on the gateway's thread:
//
//     node lab/hostile/loop.ts
//
// The gateway's core reads bodies of 22 MB in pieces of 64 KiB, as a socket gives them, one a turn of the loop. Between two turns nobody
// else is served. What counts is the thread's own time, and of five runs' longest turns the shortest: the machine does other things, too.

import { create } from "@bufbuild/protobuf";
import { GenerateResponseSchema } from "@florence/proto/decoder";
import { EncodeResponseSchema } from "@florence/proto/encoder";
import { ModelSchema } from "@florence/proto/model";
import { createEvents } from "@florence/service";
import { createGateway } from "../../services/gateway/src/app.ts";
import { gatewayEvents } from "../../services/gateway/src/events.ts";

const MiB = 1024 * 1024;
const pieceBytes = 64 * 1024;
const model = create(ModelSchema, { name: "none", digest: "d" });
const pair = async () => ({ encoder: model, decoder: model });
const gateway = createGateway({
  events: createEvents(gatewayEvents),
  encoder: { encode: async () => create(EncodeResponseSchema, { key: "k", width: 1, height: 1, holder: "h:1" }) },
  decoder: {
    async *generate() {
      yield create(GenerateResponseSchema, {
        event: { case: "problem", value: { code: "prompt_too_long", detail: "" } },
      });
    },
  },
  models: { get: pair, known: pair },
});

const file = '--b\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n';
const field = '\r\n--b\r\ncontent-disposition: form-data; name="tasks"\r\n\r\n';
const dashes = "-".repeat(68);
type Row = [what: string, type: string, begin: string, repeated: string, bytes: number, end: string];
const rows: Row[] = [
  ["JSON: empty objects", "application/json", '{"x":[', "{},", 22 * MiB, "{}]}"],
  ["JSON: numbers", "application/json", "[", "1,", 22 * MiB, "1]"],
  ["JSON: one string", "application/json", '{"x":"', "x", 22 * MiB, '"}'],
  ["JSON: 39,000 tasks", "application/json", '{"image":{"id":"x"},"tasks":[', "{},", 3 * 19_000, "{}]}"],
  [
    "JSON: 1 MB of one text",
    "application/json",
    '{"image":{"id":"x"},"tasks":[{"task":"',
    "x",
    MiB - 256 * 1024,
    '"}]}',
  ],
  ["JSON: an image", "application/json", '{"tasks":[{"task":"ocr"}],"image":{"data":"', "AAAA", 21 * MiB, '"}}'],
  ["JSON: an image, every character escaped", "application/json", '{"image":{"data":"', "\\u0041", 22 * MiB, '"}}'],
  ["JSON: an image, every slash escaped", "application/json", '{"image":{"data":"', "\\/", 22 * MiB, '"}}'],
  ["form: an image", "multipart/form-data; boundary=b", file, "x", 15 * MiB, `${field}[{"task":"ocr"}]\r\n--b--`],
  ["form: parts", "multipart/form-data; boundary=b", file, `${field}1`, 16 * MiB, "\r\n--b--"],
  [
    "form: 1 MB of values",
    "multipart/form-data; boundary=b",
    `${file}x${field}[`,
    "1,",
    MiB - 256 * 1024,
    "1]\r\n--b--",
  ],
  ["form: half boundaries", "multipart/form-data; boundary=b", file, "\r\n--", 15 * MiB, "\r\n--b--"],
  [
    "form: a boundary that nearly matches everywhere",
    `multipart/form-data; boundary=${dashes}b`,
    `--${dashes}b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n`,
    "-",
    15 * MiB,
    `\r\n--${dashes}b--`,
  ],
  ["image", "image/png", "", "x", 16 * MiB, ""],
];

console.log("| body | status | longest turn, ms | turns |\n| --- | --- | --: | --: |");
for (const row of rows) {
  const runs = [];
  for (let i = 0; i < 5; i++) runs.push(await run(row));
  const best = runs.reduce((a, b) => (b.longestMs < a.longestMs ? b : a));
  console.log(`| ${row[0]} | ${best.answer} | ${best.longestMs.toFixed(1)} | ${best.turns} |`);
}

/** Milliseconds that this thread has computed. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

async function run([, type, begin, repeated, bytes, end]: Row) {
  const piece = Buffer.from(repeated.repeat(Math.ceil(Math.min(bytes, pieceBytes) / repeated.length)));
  let left = bytes;
  let state = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        await new Promise(setImmediate);
        if (state === 0) controller.enqueue(Buffer.from(begin));
        else if (left > 0) {
          controller.enqueue(piece);
          left -= piece.length;
        } else if (state > 0) {
          controller.enqueue(Buffer.from(end));
          controller.close();
        }
        state++;
      },
    },
    { highWaterMark: 0 },
  );
  let longestMs = 0;
  let turns = 0;
  let at = threadMs();
  let going = true;
  const turn = () => {
    const now = threadMs();
    longestMs = Math.max(longestMs, now - at);
    at = now;
    turns++;
    if (going) setImmediate(turn);
  };
  setImmediate(turn);
  const query = type === "image/png" ? "?task=ocr" : "";
  const response = await gateway.fetch(
    new Request(`http://localhost/v1/annotate${query}`, {
      method: "POST",
      headers: { "content-type": type },
      body,
      duplex: "half",
    } as RequestInit),
  );
  await response.json();
  await new Promise(setImmediate);
  going = false;
  return { longestMs, turns, answer: response.status };
}

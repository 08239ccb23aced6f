import { Writable } from "node:stream";
import { createLogger } from "@florence/node";
import { createEvents, Fault } from "@florence/service";
import { expect, test } from "vitest";
import { gatewayEvents } from "../src/events.ts";
import { logEvents } from "../src/log-events.ts";

test("the log has a line for each request and for what an operator should know, at its level", () => {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const say = createEvents(gatewayEvents, [logEvents(createLogger({ name: "gateway", level: "debug", stream }))]);
  const requestId = "r1";
  const fault = new Fault("unavailable", "Gone.");
  const answered = { requestId, method: "GET", ms: 3 };
  say.requestReceived({ requestId, method: "GET", path: "/v1/tasks" });
  say.requestAnswered({ ...answered, path: "/v1/tasks", status: 200 });
  const complete = { cache: "hit", tier: "memory", stagesMs: { prompt: 2 } };
  const shown = { cache: "hit", tier: "memory", stages: { prompt_ms: 2 } };
  say.requestReceived({ requestId, method: "GET", path: "/v1/annotate" });
  say.answerComplete({ requestId, ...complete });
  say.requestAnswered({ ...answered, path: "/v1/annotate", status: 200 });
  say.answerComplete({ requestId, ...complete });
  say.requestAnswered({ ...answered, path: "/readyz", status: 200 });
  say.requestAnswered({ ...answered, path: "/readyz", status: 503 });
  say.requestRefused({ requestId, fault });
  const path = "/v1/annotate";
  say.requestFailed({ requestId, path, fault });
  for (let i = 0; i < 3; i++) say.requestFailed({ requestId, path: "/readyz", fault });
  for (let i = 0; i < 2; i++) say.requestAnswered({ ...answered, path: "/readyz", status: 200 });
  say.requestFailed({ requestId, path: "/readyz", fault });
  say.taskFailed({ requestId, index: 0, task: "ocr", fault });
  say.taskFailed({ requestId, index: 0, task: "ocr", fault: new Fault("prompt_too_long", "") });
  say.streamFailed({ requestId, fault });
  say.encodeRetried({ requestId, fault, pauseMs: 250 });
  say.embeddingEvicted({ requestId });
  say.generateRetried({ requestId, fault, pauseMs: 250, tasks: 2 });
  say.peerLeftOut({ service: "encoder", address: "a:1", digest: "x", agreed: "y" });
  say.peerGone({ service: "encoder", address: "a:1" });
  say.nameUnresolved({ service: "encoder", host: "encoders", error: new Error("ENOTFOUND") });
  say.addressesExceeded({ service: "encoder", addresses: 300, used: 256 });
  const [debug, info, warn, error] = [20, 30, 40, 50];
  const err = { code: "unavailable", detail: "Gone." };
  const expected = [
    { level: info, requestId, method: "GET", path: "/v1/tasks", status: 200, ms: 3, msg: "request" },
    { level: info, requestId, method: "GET", path: "/v1/annotate", status: 200, ms: 3, ...shown, msg: "request" },
    { level: info, requestId, ...shown, msg: "stream complete" },
    { level: debug, path: "/readyz", status: 200, msg: "request" },
    { level: debug, path: "/readyz", status: 503, msg: "request" },
    { level: debug, requestId, err, msg: "request refused" },
    { level: error, requestId, err, msg: "request failed" },
    { level: warn, reason: "Gone.", msg: "not ready" },
    { level: debug, path: "/readyz", status: 200, msg: "request" },
    { level: info, msg: "ready again" },
    { level: debug, path: "/readyz", status: 200, msg: "request" },
    { level: warn, reason: "Gone.", msg: "not ready" },
    { level: error, requestId, task: "ocr", err, msg: "task failed" },
    { level: error, requestId, err, msg: "stream failed" },
    { level: warn, requestId, err, msg: "no encoder is there, asking again" },
    { level: info, requestId, msg: "embedding evicted, encoding the image again" },
    { level: warn, requestId, err, tasks: 2, msg: "decoder unavailable, asking another" },
    { level: warn, address: "a:1", digest: "x", agreed: "y", msg: "peer has another checkpoint, left out" },
    { level: info, address: "a:1", msg: "a peer is gone" },
    { level: warn, host: "encoders", err: { message: "ENOTFOUND" } },
    { level: warn, addresses: 300, used: 256, msg: "too many addresses" },
  ];
  expect(lines).toHaveLength(expected.length);
  expect(lines).toMatchObject(expected);
});

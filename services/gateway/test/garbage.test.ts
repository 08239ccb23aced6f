import { RegionShape } from "@florence/proto/decoder";
import { Fault, type Listener } from "@florence/service";
import { describe, expect, test } from "vitest";
import type { gatewayEvents } from "../src/events.ts";
import { data, digest, type Json, problemOf, resultOf, startStack } from "./stack.ts";

const call = { image: { data }, tasks: [{ task: "ocr" }, { task: "object_detection" }] };
const encoded = { key: "k", width: 10, height: 10, holder: "127.0.0.1:1", expiresAtMs: 0n };

/** Faults as the log gets them. */
function heardFaults() {
  const messages: string[] = [];
  const note = ({ fault }: { fault: Fault }) => void messages.push(fault.message);
  const listener: Listener<typeof gatewayEvents> = { requestFailed: note, taskFailed: note };
  return { messages, listener };
}

describe.each(
  Object.entries({
    "an image of no width": { width: 0 },
    "an image of no size": { width: 0, height: 0 },
    "an image larger than any": { width: 2 ** 31 },
    "an end before all time": { expiresAtMs: -1n },
    "an end that no date can name": { expiresAtMs: 2n ** 62n },
    "no key": { key: "" },
    "a key without end": { key: "k".repeat(100_000) },
    "a holder without end": { holder: "h".repeat(100_000) },
    "warnings without end": { warnings: Array(1000).fill({ code: "a", message: "b" }) },
    "a warning without end": { warnings: [{ code: "a", message: "m".repeat(100_000) }] },
    "times that are none": { encodeMs: Number.NaN },
    "times without end": { preprocessMs: Number.POSITIVE_INFINITY },
  }),
)("an encoder that answers with %s", (_what, garbage) => {
  test("is unavailable: the caller learns no more, the log does", async () => {
    const { messages, listener } = heardFaults();
    await using stack = await startStack({
      encoder: { encode: async () => ({ ...encoded, ...garbage }) },
      listeners: [listener],
      env: { FLORENCE_DEADLINE_MS: "2000" },
    });
    const problem = await problemOf(await stack.json(call));
    expect(problem).toMatchObject({ status: 503, code: "unavailable", detail: "An encoder's answer cannot be used." });
    expect(messages).toEqual([expect.stringMatching(/^The encoder sent /)]);
  });
});

const region = (coordinates: number[], score: number) => ({
  shape: RegionShape.BOX,
  label: "cat",
  rings: [{ coordinates }],
  score,
});
const results: Record<string, object> = {
  "a score": { score: Number.NaN },
  "a log-probability": { tokenLogProbs: [0, Number.NaN] },
  "a region's score": { regions: [region([1, 2, 3, 4], Number.NaN)] },
  "a time": { decodeMs: Number.NaN },
};

describe.each(Object.entries(results))("a decoder whose result has NaN for %s", (_what, garbage) => {
  test("costs that task alone, with internal and nothing more, and never becomes null", async () => {
    const { messages, listener } = heardFaults();
    await using stack = await startStack({
      listeners: [listener],
      decoder: {
        async *generate() {
          yield { taskIndex: 1, event: { case: "result", value: { ...resultOf("object_detection", ""), ...garbage } } };
          yield { taskIndex: 0, event: { case: "result", value: resultOf("ocr", "") } };
        },
      },
    });
    const answer = (await (await stack.json(call)).json()) as Json;
    expect(answer.results[0]).toMatchObject({ task: "ocr", score: -0.25 });
    expect(answer.results[1].error).toMatchObject({
      code: "internal",
      detail: "Something went wrong inside the service.",
    });
    expect(messages).toEqual(["The decoder sent a result with NaN."]);
  });
});

test("NaN in a stream ends its task with internal, and nothing of that task follows", async () => {
  await using stack = await startStack({
    decoder: {
      async *generate() {
        yield { taskIndex: 0, event: { case: "token", value: { id: 1, text: "a", logProb: Number.NaN } } };
        yield { taskIndex: 0, event: { case: "token", value: { id: 2, text: "b", logProb: -1 } } };
        yield { taskIndex: 1, event: { case: "region", value: region([1, 2, 3, 4], Number.NaN) } };
        yield { taskIndex: 1, event: { case: "result", value: resultOf("object_detection", "") } };
      },
    },
  });
  const text = await (await stack.json({ ...call, stream: true })).text();
  expect([...text.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name)).toEqual(["error", "error", "done"]);
  expect(text).not.toContain("null,null");
});

test("an answer larger than any message is internal, and nobody is told to come again for it", async () => {
  const { messages, listener } = heardFaults();
  await using stack = await startStack({
    listeners: [listener],
    decoder: {
      async *generate() {
        const result = { ...resultOf("ocr", ""), text: "x".repeat(21 * 1024 * 1024) };
        yield { taskIndex: 0, event: { case: "result", value: result } };
      },
    },
  });
  const answer = await stack.json(call);
  expect(answer.headers.get("retry-after")).toBeNull();
  expect(await problemOf(answer)).toMatchObject({ status: 500, code: "internal" });
  expect(messages).toEqual([expect.stringContaining("larger than max")]);
});

test("a problem of code internal, or of no code, says nothing of what happened", async () => {
  for (const code of ["internal", "no such code", "checkpoint_file_missing"]) {
    await using stack = await startStack({
      decoder: {
        async *generate() {
          yield { taskIndex: 0, event: { case: "problem", value: { code, detail: "/secret/path is missing" } } };
          yield { taskIndex: 1, event: { case: "result", value: resultOf("object_detection", "") } };
        },
      },
    });
    for (const stream of [false, true]) {
      const text = await (await stack.json({ ...call, stream })).text();
      expect(text).toContain('"code":"internal"');
      expect(text).not.toContain("secret");
    }
  }
});

test("a service whose description cannot be read makes the list of models unavailable, and nothing else", async () => {
  await using stack = await startStack({
    encoder: { getEncoderModel: async () => ({ model: { name: "scripted", digest, verificationJson: "{/secret" } }) },
  });
  const problem = await problemOf(await stack.get("/v1/models"));
  expect(problem).toMatchObject({ status: 503, code: "unavailable" });
  expect(JSON.stringify(problem)).not.toContain("secret");
  expect((await stack.json(call)).status).toBe(200);
});

test("a fault of the gateway's own that is internal says nothing either", async () => {
  await using stack = await startStack({
    encoder: {
      encode: async () => {
        throw new Fault("internal", "/secret/path is missing");
      },
    },
  });
  expect(JSON.stringify(await problemOf(await stack.json(call)))).not.toContain("secret");
});

import { Fault, type Listener } from "@florence/service";
import { expect, test } from "vitest";
import { gatewayEvents } from "../src/events.ts";
import { data, image, startStack } from "./stack.ts";

/** A listener that hears everything, and what it heard. */
function recorder() {
  const heard: { name: string; about: Record<string, unknown> }[] = [];
  const names = Object.keys(gatewayEvents);
  const listener = Object.fromEntries(
    names.map((name) => [name, (about: Record<string, unknown>) => heard.push({ name, about })]),
  ) as unknown as Listener<typeof gatewayEvents>;
  return { heard, listener };
}

const ofRequest = (heard: ReturnType<typeof recorder>["heard"], requestId: string) =>
  heard.filter(({ about }) => about.requestId === requestId).map(({ name }) => name);

test("a listener hears everything of a call, in the order in which it happens", async () => {
  const { heard, listener } = recorder();
  await using stack = await startStack({ listeners: [listener] });
  const response = await stack.json({ image: { data }, tasks: [{ task: "<OD>" }], stream: true });
  await response.text();
  expect(ofRequest(heard, response.headers.get("x-request-id") as string)).toEqual([
    "requestReceived",
    "requestAdmitted",
    "imageReceived",
    "encodeAsked",
    "encodeAnswered",
    "generateAsked",
    "requestAnswered", // Of a stream, the head goes out with its first event.
    "tokenGenerated",
    "regionGenerated",
    "taskFinished",
    "answerComplete",
  ]);
  expect(heard.filter(({ name }) => name === "peerFound").map(({ about }) => about.service)).toEqual([
    "encoder",
    "decoder",
  ]);
});

test("second tries, what is left out and what is refused are heard", async () => {
  const { heard, listener } = recorder();
  let failures = 1;
  await using stack = await startStack({
    listeners: [listener],
    encoder: {
      encode: async () => {
        if (failures-- > 0) throw new Fault("unavailable", "Restarting.");
        return { key: "k", width: 10, height: 10, holder: "127.0.0.1:1", expiresAtMs: 0n };
      },
    },
  });
  const answered = await stack.json({ image: { data }, tasks: [{ task: "caption" }] });
  expect(ofRequest(heard, answered.headers.get("x-request-id") as string)).toEqual([
    "requestReceived",
    "requestAdmitted",
    "imageReceived",
    "encodeAsked",
    "encodeRetried",
    "encodeAnswered",
    "generateAsked",
    "taskFinished",
    "answerComplete",
    "requestAnswered",
  ]);
  expect(heard.map(({ name }) => name).filter((name) => /^peer(Avoided|Back)$/.test(name))).toEqual([
    "peerAvoided",
    "peerBack",
  ]);
  const refused = await stack.json({ image: { data }, tasks: [{ task: "nothing" }] });
  expect(ofRequest(heard, refused.headers.get("x-request-id") as string)).toEqual([
    "requestReceived",
    "requestRefused",
    "requestAnswered",
  ]);
});

test("no event holds an image, a prompt or an answer", async () => {
  const { heard, listener } = recorder();
  await using stack = await startStack({ listeners: [listener] });
  const secret = "Xylophonist";
  const ask = (body: unknown) => stack.json(body).then((response) => response.text());
  const answer = await ask({ image: { data }, tasks: [{ task: "phrase_grounding", text: secret }, { task: "<OD>" }] });
  expect(answer).toContain("cat");
  await ask({ image: { data }, tasks: [{ task: "caption", text: secret }] });
  await ask({ image: { data }, tasks: [{ task: "region_ocr", text: secret }] });
  await fetch(`${stack.url}/v1/annotate`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: `{"image": ${secret}`,
  });
  /** Everything within a value, errors and their causes included. */
  const within = (value: unknown): unknown[] =>
    value !== null && typeof value === "object"
      ? [value, ...Reflect.ownKeys(value).flatMap((key) => within((value as Record<PropertyKey, unknown>)[key]))]
      : [value];
  const all = heard.flatMap(({ about }) => within(about));
  expect(all.length).toBeGreaterThan(100);
  expect(all.filter((value) => typeof value === "string" && /Xylo|\bcat\b/.test(value))).toEqual([]);
  expect(all.filter((value) => value instanceof Uint8Array || value === data || value === image)).toEqual([]);
});

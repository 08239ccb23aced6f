import { setTimeout as sleep } from "node:timers/promises";
import { Fault } from "@florence/service";
import { describe, expect, test } from "vitest";
import { type DecoderScript, digest, type Json, resultOf, startStack } from "./stack.ts";

const tasks = [{ task: "caption" }, { task: "ocr" }];
const images = Array.from({ length: 16 }, (_, i) => new Uint8Array([1, 2, 3, i]));
const ask = (stack: { json: (body: unknown) => Promise<Response> }, image = images[0] as Uint8Array, stream = false) =>
  stack.json({ image: { data: Buffer.from(image).toString("base64") }, tasks, stream });
const encoded = { key: "k", width: 10, height: 10, holder: "127.0.0.1:1", expiresAtMs: 0n };

describe("encoders", () => {
  test("each get the same images again; when one goes, only its images move", async () => {
    await using stack = await startStack({ encoder: [{}, {}, {}] });
    const homes = async () => {
      const by: number[] = [];
      for (const image of images) {
        expect((await ask(stack, image)).status).toBe(200);
        by.push(stack.encodedBy.at(-1) as number);
      }
      return by;
    };
    const before = await homes();
    expect(await homes()).toEqual(before);
    expect(new Set(before).size).toBeGreaterThan(1);
    const gone = before[0] as number;
    stack.encoders[gone]?.server.forceShutdown();
    const after = await homes();
    for (const [i, home] of after.entries()) {
      if (before[i] === gone) expect(home).not.toBe(gone);
      else expect(home).toBe(before[i]);
    }
  });

  test("share an image that everyone asks for at one time", async () => {
    const all = Promise.withResolvers<void>();
    const encode = async () => {
      if (stack.encodes.length === 30) all.resolve();
      await all.promise;
      return encoded;
    };
    await using stack = await startStack({ encoder: [{ encode }, { encode }, { encode }] });
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask(stack)));
    expect(answers.map(({ status }) => status)).toEqual(Array(30).fill(200));
    const counts = [0, 1, 2].map((i) => stack.encodedBy.filter((by) => by === i).length);
    expect(Math.max(...counts)).toBeLessThanOrEqual(17); // 1.25 times a third of 30, and a few.
  });

  test("found anew under a name take calls, and those that moved get no more", async () => {
    const where: Record<string, string[]> = { first: ["127.0.0.1"] };
    await using stack = await startStack({
      encoder: [{}, {}],
      env: { FLORENCE_RESOLVE_MS: "100" },
      addresses: ([first, second]) => ({ FLORENCE_ENCODER: `first:${first?.port},second:${second?.port}` }),
      resolve: async (host) => {
        const found = where[host];
        if (found === undefined) throw new Error("ENOTFOUND");
        return found;
      },
    });
    const askAll = () => Promise.all(images.map((image) => ask(stack, image)));
    await askAll();
    expect(new Set(stack.encodedBy)).toEqual(new Set([0]));
    where.second = ["127.0.0.1"];
    while (!stack.encodedBy.includes(1)) await askAll();
    // Where nobody listens: its images go to the one that is left.
    where.first = ["127.0.0.2"];
    await sleep(300);
    stack.encodedBy.length = 0;
    expect((await askAll()).every(({ status }) => status === 200)).toBe(true);
    expect(new Set(stack.encodedBy)).toEqual(new Set([1]));
  });

  test("that lose work over and over are not asked for twice the work", async () => {
    const encode = async () => {
      await sleep(120); // Work, not a refusal.
      throw new Fault("unavailable", "Crashed.");
    };
    await using stack = await startStack({ encoder: [{ encode }, { encode }] });
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => ask(stack, new Uint8Array([i]))));
    expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(503));
    // A burst of 20 and one in five.
    expect(stack.encodes.length).toBeGreaterThan(100);
    expect(stack.encodes.length).toBeLessThanOrEqual(140);
  });
});

describe("decoders", () => {
  /** Says `events` to the first call, then dies; the calls after are answered as usual. */
  function dying(events: "nothing" | "result" | "token"): DecoderScript {
    let died = false;
    return {
      async *generate({ tasks: asked }, { signal }) {
        if (!died) {
          died = true;
          if (events === "result")
            yield { taskIndex: 0, event: { case: "result", value: resultOf(asked[0]?.name ?? "", "") } };
          if (events === "token")
            yield { taskIndex: 0, event: { case: "token", value: { id: 7, text: "a", logProb: 0 } } };
          await new Promise((resolve) => {
            signal.addEventListener("abort", resolve);
            kill();
          });
        }
        for (const [taskIndex, { name, input }] of asked.entries())
          yield { taskIndex, event: { case: "result", value: resultOf(name, input) } };
      },
    };
  }
  let kill = () => {};

  /** Two such decoders; whichever gets the first call is killed in the midst of it. */
  async function startDying(events: "nothing" | "result" | "token") {
    const script = dying(events);
    const stack = await startStack({ decoder: [script, script] });
    // Once the event is on its way: what has been written when a process dies is delivered.
    kill = () => setTimeout(() => stack.decoders[stack.generatedBy[0] as number]?.server.forceShutdown(), 100);
    return stack;
  }

  test("one that dies before it said anything is replaced by another", async () => {
    await using stack = await startDying("nothing");
    const { results } = (await (await ask(stack)).json()) as Json;
    expect(results.map(({ text }: Json) => text)).toEqual(["</s><s>caption</s>", "</s><s>ocr</s>"]);
    expect(new Set(stack.generatedBy).size).toBe(2);
  });

  test("one that dies half way through a JSON answer loses nothing, and what was finished is not asked again", async () => {
    await using stack = await startDying("result");
    const { results } = (await (await ask(stack)).json()) as Json;
    expect(results.map(({ text }: Json) => text)).toEqual(["</s><s>caption</s>", "</s><s>ocr</s>"]);
    expect(stack.generates.at(-1)?.tasks.map(({ name }) => name)).toEqual(["ocr"]);
  });

  test("one that dies under a stream costs the task whose tokens were shown; the other is asked of another", async () => {
    await using stack = await startDying("token");
    const text = await (await ask(stack, images[0], true)).text();
    const events = text
      .split("\n\n")
      .map((event) => [/^event: (.*)$/m.exec(event)?.[1], JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? "{}")]);
    expect(events.filter(([name]) => ["token", "error", "result"].includes(name))).toMatchObject([
      ["token", { index: 0 }],
      ["error", { index: 0, error: { code: "unavailable" } }],
      ["result", { index: 1, text: "</s><s>ocr</s>" }],
    ]);
    expect(stack.generates.at(-1)?.tasks.map(({ name }) => name)).toEqual(["ocr"]);
  });
});

describe("peers with another checkpoint", () => {
  const other = { model: { name: "other", digest: "other" } };

  test("are left out while a pair agrees, and one that hangs does not keep the gateway from being ready", async () => {
    const forever = () => new Promise<never>(() => {});
    await using stack = await startStack({
      encoder: [{ getEncoderModel: async () => other }, {}, {}],
      decoder: [{}, { getDecoderModel: async () => other }, { getDecoderModel: forever }],
    });
    expect((await stack.get("/readyz")).status).toBe(200);
    for (const image of images) expect((await ask(stack, image)).status).toBe(200);
    expect(new Set(stack.encodedBy)).toEqual(new Set([1, 2]));
    expect(new Set(stack.generatedBy)).toEqual(new Set([0]));
    const { data } = (await (await stack.get("/v1/models")).json()) as Json;
    expect(data[0].digest).toBe(digest);
  });

  test("take over once most have it", async () => {
    let told = { model: { name: "scripted", digest } };
    const script = { getEncoderModel: async () => told };
    await using stack = await startStack({
      encoder: [{}, script, script],
      decoder: [{}, { getDecoderModel: async () => told }, { getDecoderModel: async () => told }],
    });
    expect((await stack.get("/readyz")).status).toBe(200);
    told = other;
    for (let model = ""; model !== "other"; await sleep(50)) {
      model = ((await (await stack.get("/v1/models")).json()) as Json).data[0].id;
    }
    stack.encodedBy.length = 0;
    for (const image of images) expect((await ask(stack, image)).status).toBe(200);
    expect(stack.encodedBy).not.toContain(0);
  });
});

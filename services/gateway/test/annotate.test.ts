import { afterAll, beforeAll, expect, test } from "vitest";
import { data, digest, image, type Json, problemOf, startStack } from "./stack.ts";

let stack: Awaited<ReturnType<typeof startStack>>;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack[Symbol.asyncDispose]());

async function answerOf(response: Response): Promise<Json> {
  const body = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body;
}

test("a JSON call is answered with everything the contract names, results in the order of the tasks", async () => {
  const response = await stack.json({
    image: { data },
    tasks: [{ task: "<OD>" }, { task: "caption" }, { task: "open_vocabulary_detection", text: ["cat", "dog"] }],
  });
  const answer = await answerOf(response);
  expect(answer).toEqual({
    id: response.headers.get("x-request-id"),
    model: { name: "scripted", digest, precision: "fp32" },
    image: { id: expect.any(String), width: 200, height: 100, expires_at: expect.stringMatching(/^20\d\d-.*Z$/) },
    results: [
      {
        task: "object_detection",
        token: "<OD>",
        answer: { "<OD>": { bboxes: [[1, 2, 3, 4]], labels: ["cat"], scores: [0.5] } },
        text: "</s><s>object_detection</s>",
        score: -0.25,
        finish_reason: "stop",
        usage: { prompt_tokens: 3, completion_tokens: 3 },
      },
      expect.objectContaining({ task: "caption", answer: { "<CAPTION>": "caption:" } }),
      expect.objectContaining({ task: "open_vocabulary_detection", token: "<OPEN_VOCABULARY_DETECTION>" }),
    ],
    cache: { result: "miss", tier: "none", encodings: 1 },
    timing_ms: expect.objectContaining({ encode: 5, decode_queue: 1, prompt: 2, decode: 3, total: expect.any(Number) }),
  });
  expect(stack.generates.at(-1)?.tasks.map(({ input }) => input)).toEqual(["", "", "cat<and>dog"]);
});

test("the three forms of one call reach the services as the same call", async () => {
  const options = { max_new_tokens: 20, num_beams: 2, early_stopping: "never", constrain: true, auto_orient: false };
  const form = new FormData();
  form.set("image", new Blob([image]), "image.png");
  form.set("tasks", JSON.stringify([{ task: "caption" }, { task: "phrase_grounding", text: "a red: circle" }]));
  form.set("options", JSON.stringify(options));
  const query = new URLSearchParams({
    task: "caption",
    ...Object.fromEntries(Object.entries(options).map(([k, v]) => [k, String(v)])),
  });
  query.append("task", "phrase_grounding:a red: circle");
  const tasks = [{ task: "caption" }, { task: "phrase_grounding", text: "a red: circle" }];
  const calls = [
    () => stack.json({ image: { data }, tasks, options }),
    () => stack.json({ image: { data: `data:image/png;base64,${data}` }, tasks, options }),
    () => fetch(`${stack.url}/v1/annotate`, { method: "POST", body: form }),
    () => stack.raw(query.toString()),
  ];
  const seen = [];
  for (const call of calls) {
    await answerOf(await call());
    seen.push({ encode: stack.encodes.at(-1), generate: stack.generates.at(-1) });
  }
  expect(
    new Set(
      seen.map(({ encode, generate }) =>
        JSON.stringify([[...(encode?.image ?? [])], encode?.ignoreOrientation, generate]),
      ),
    ).size,
  ).toBe(1);
  expect(seen[0]?.encode?.ignoreOrientation).toBe(true);
  expect(seen[0]?.generate?.options).toMatchObject({
    maxNewTokens: 20,
    numBeams: 2,
    earlyStopping: 3,
    constrain: true,
  });
});

test("details adds ids, prompt ids and log-probabilities", async () => {
  const answer = await answerOf(await stack.raw("task=caption&details=true"));
  expect(answer.results[0]).toMatchObject({ ids: [2, 0, 7, 2], prompt_ids: [0, 5, 2], token_log_probs: [0, -0.5, 0] });
});

test("a region is given in pixels or as location tokens, and reaches the decoder as location tokens", async () => {
  await answerOf(
    await stack.json({
      image: { data },
      tasks: [
        { task: "region_category", region: { x1: 0, y1: 0, x2: 100, y2: 50 } },
        { task: "region_category", text: "<loc_0><loc_0><loc_500><loc_500>" },
        { task: "region_category", text: "0,0,100,50" },
      ],
    }),
  );
  expect(stack.generates.at(-1)?.tasks.map(({ input }) => input)).toEqual(
    Array(3).fill("<loc_0><loc_0><loc_500><loc_500>"),
  );
});

test("a region outside the image fails its own task alone", async () => {
  const answer = await answerOf(
    await stack.json({
      image: { data },
      tasks: [{ task: "region_category", region: { x1: 0, y1: 0, x2: 201, y2: 50 } }, { task: "caption" }],
    }),
  );
  expect(answer.results[0]).toEqual({
    task: "region_category",
    error: expect.objectContaining({ code: "region_invalid", status: 400, instance: answer.id }),
  });
  expect(answer.results[1].answer).toEqual({ "<CAPTION>": "caption:" });
});

test("an image id stands for the image, without another encoding", async () => {
  const uploaded = await stack.json({ image: { data } }, "/v1/images");
  expect(uploaded.status).toBe(201);
  const { image } = (await uploaded.json()) as Json;
  const encodings = stack.encodes.length;
  const answer = await answerOf(await stack.json({ image: { id: image.id }, tasks: [{ task: "caption" }] }));
  expect(stack.encodes.length).toBe(encodings);
  expect(answer.image).toEqual(image);
  expect(answer.cache.result).toBe("hit");
  expect(stack.generates.at(-1)).toMatchObject({
    embeddingKey: `${digest}.key`,
    holder: "127.0.0.1:1",
    width: 200,
    height: 100,
  });
});

test("every mistake that needs no image is refused before anything is encoded, with its own code", async () => {
  const encodings = stack.encodes.length;
  const tasks = [{ task: "caption" }];
  const region = { x1: 0, y1: 0, x2: 1, y2: 1 };
  const cases: [string, string, unknown][] = [
    ["image_missing", "", { tasks }],
    ["image_missing", "", { image: {}, tasks }],
    ["image_missing", "", { image: { data: "" }, tasks }],
    ["body_invalid", "image", { image: { data, url: "https://example.org" }, tasks }],
    ["body_invalid", "image.data", { image: { data: "not base64!" }, tasks }],
    ["body_invalid", "image.file", { image: { file: "x" }, tasks }],
    ["body_invalid", "image.id", { image: { id: "nonsense" }, tasks }],
    ["body_invalid", "tasks", { image: { data } }],
    ["body_invalid", "tasks", { image: { data }, tasks: [] }],
    ["body_invalid", "tasks", { image: { data }, tasks: Array(33).fill({ task: "caption" }) }],
    ["body_invalid", "taks", { image: { data }, tasks, taks: [] }],
    ["body_invalid", "tasks[0].txt", { image: { data }, tasks: [{ task: "caption", txt: "" }] }],
    ["body_invalid", "body", []],
    ["task_unknown", "tasks[1]", { image: { data }, tasks: [{ task: "caption" }, { task: "nothing" }] }],
    ["task_input_missing", "tasks[0]", { image: { data }, tasks: [{ task: "phrase_grounding" }] }],
    ["task_input_unexpected", "tasks[0]", { image: { data }, tasks: [{ task: "caption", text: "a cat" }] }],
    ["task_input_unexpected", "tasks[0]", { image: { data }, tasks: [{ task: "caption", region }] }],
    ["task_input_unexpected", "tasks[0]", { image: { data }, tasks: [{ task: "phrase_grounding", text: ["a", "b"] }] }],
    [
      "region_invalid",
      "tasks[0].region.y2",
      { image: { data }, tasks: [{ task: "region_ocr", region: { ...region, y2: "1" } }] },
    ],
    ["region_invalid", "tasks[0]", { image: { data }, tasks: [{ task: "region_ocr", region: { ...region, x1: 2 } }] }],
    ["region_invalid", "tasks[0]", { image: { data }, tasks: [{ task: "region_ocr", text: "<loc_1><loc_2>" }] }],
    ["prompt_too_long", "tasks[0]", { image: { data }, tasks: [{ task: "prompt", text: "x".repeat(2001) }] }],
    ["option_invalid", "options.num_beams", { image: { data }, tasks, options: { num_beams: 6 } }],
    ["option_invalid", "options.beams", { image: { data }, tasks, options: { beams: 1 } }],
    ["option_invalid", "options.background", { image: { data }, tasks, options: { background: "white" } }],
    ["option_invalid", "options.background", { image: { data }, tasks, options: { background: "#fff" } }],
    ["option_invalid", "options.background", { image: { data }, tasks, options: { background: [0, 0] } }],
    ["option_invalid", "options.background[2]", { image: { data }, tasks, options: { background: [0, 0, 256] } }],
    ["option_invalid", "options.max_new_tokens", { image: { data }, tasks, options: { max_new_tokens: 1.5 } }],
  ];
  for (const [code, place, body] of cases) {
    const problem = await problemOf(await stack.json(body));
    expect({ code: problem.code, detail: problem.detail }, JSON.stringify(body)).toEqual({
      code,
      detail: expect.stringContaining(place),
    });
  }
  const queries: [string, string][] = [
    ["task=caption&num_beams=many", "option_invalid"],
    ["task=caption&num_beams=1&num_beams=2", "option_invalid"],
    ["task=caption&beams=1", "option_invalid"],
    ["task=caption&background=%23ffff", "option_invalid"],
    ["task=caption&stream=maybe", "body_invalid"],
    ["", "body_invalid"],
  ];
  for (const [query, code] of queries) expect((await problemOf(await stack.raw(query))).code, query).toBe(code);
  expect((await problemOf(await stack.raw("task=caption", new Uint8Array(0)))).code).toBe("image_missing");
  expect((await problemOf(await stack.raw("task=caption", "text", "text/plain"))).code).toBe("image_type_unsupported");
  expect((await problemOf(await stack.json({}, "/v1/annotate?task=caption"))).code).toBe("body_invalid");
  const broken = { method: "POST", body: '{"image":', headers: { "content-type": "application/json" } };
  expect((await problemOf(await fetch(`${stack.url}/v1/annotate`, broken))).code).toBe("body_invalid");
  const multipart = { method: "POST", body: "--x", headers: { "content-type": "multipart/form-data; boundary=x" } };
  expect((await problemOf(await fetch(`${stack.url}/v1/annotate`, multipart))).code).toBe("body_invalid");
  expect(stack.encodes.length).toBe(encodings);
});

test("a background reaches the encoder as three bytes, however it is written, and from a query digits are no number", async () => {
  const tasks = [{ task: "caption" }];
  const colours = [
    [() => stack.json({ image: { data }, tasks, options: { background: "#0a0B0c" } }), [10, 11, 12]],
    [() => stack.json({ image: { data }, tasks, options: { background: [255, 0, 1] } }), [255, 0, 1]],
    [() => stack.raw("task=caption&background=%23ffffff"), [255, 255, 255]],
    [() => stack.raw("task=caption&background=000102"), [0, 1, 2]],
    [() => stack.raw("task=caption&background=000000"), [0, 0, 0]],
    [() => stack.raw("task=caption"), []],
  ] as const;
  for (const [send, expected] of colours) {
    await answerOf(await send());
    expect([...(stack.encodes.at(-1)?.background ?? [1])]).toEqual(expected);
  }
});

test("how an image is read was settled when it was sent", async () => {
  const { image }: Json = await (
    await stack.json({ image: { data }, options: { background: "#ffffff" } }, "/v1/images")
  ).json();
  for (const options of [{ background: "#ffffff" }, { auto_orient: true }]) {
    const problem = await problemOf(
      await stack.json({ image: { id: image.id }, tasks: [{ task: "caption" }], options }),
    );
    expect(problem).toMatchObject({
      code: "option_invalid",
      detail: expect.stringContaining(Object.keys(options)[0] ?? ""),
    });
  }
});

test("a text that was changed is answered with a warning in its own result, and nobody else's", async () => {
  const given = [
    { task: "phrase_grounding", text: "a cat" },
    { task: "phrase_grounding", text: "\u3000a cat \n" },
    { task: "open_vocabulary_detection", text: ["cat", " ", "dog"] },
    { task: "open_vocabulary_detection", text: [" cat", "", "dog"] },
    { task: "region_ocr", text: " 0, 0, 10, 10 " },
    { task: "prompt", text: " as it is " },
    { task: "caption" },
  ];
  const answer = await answerOf(await stack.json({ image: { data }, tasks: given }));
  expect(answer).not.toHaveProperty("warnings");
  const codes = answer.results.map(({ warnings }: Json) => warnings?.map(({ code }: Json) => code));
  const none = undefined;
  expect(codes).toEqual([
    none,
    ["text_trimmed"],
    ["class_dropped"],
    ["text_trimmed", "class_dropped"],
    none,
    none,
    none,
  ]);
});

test("an upload takes no tasks and no id", async () => {
  expect((await problemOf(await stack.json({ image: { data }, tasks: [] }, "/v1/images"))).detail).toContain("tasks");
  expect((await problemOf(await stack.json({ image: { id: "x" } }, "/v1/images"))).code).toBe("body_invalid");
});

test("the routes beside annotate answer, and every other address and method is a problem document", async () => {
  const { tasks } = (await (await stack.get("/v1/tasks")).json()) as Json;
  expect(tasks).toContainEqual(expect.objectContaining({ name: "object_detection", token: "<OD>", input: "none" }));
  const models = (await (await stack.get("/v1/models")).json()) as Json;
  expect(models.data[0]).toMatchObject({ id: "scripted", digest, precision: { encoder: "fp32", decoder: "fp32" } });
  expect(((await (await stack.get("/")).json()) as Json).routes).toContainEqual(
    expect.objectContaining({ path: "/v1/annotate" }),
  );
  expect((await stack.get("/healthz")).status).toBe(200);
  expect((await stack.get("/readyz")).status).toBe(200);
  expect(await problemOf(await stack.get("/v1/nothing"))).toMatchObject({ status: 404, code: "not_found" });
  const wrongMethod = await stack.get("/v1/annotate");
  expect(wrongMethod.headers.get("allow")).toBe("POST, OPTIONS");
  expect(await problemOf(wrongMethod)).toMatchObject({ status: 405, code: "method_not_allowed" });
});

test("a sane request id is kept and echoed, any other is replaced", async () => {
  const sent = async (id: string) =>
    (await fetch(`${stack.url}/v1/nothing`, { headers: { "x-request-id": id } })) as Response;
  const kept = await sent("abc-1.2_3");
  expect(kept.headers.get("x-request-id")).toBe("abc-1.2_3");
  expect((await problemOf(kept)).instance).toBe("abc-1.2_3");
  for (const id of ["a b", "x".repeat(129), "<script>"]) {
    expect((await sent(id)).headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  }
});

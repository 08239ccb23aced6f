import { FinishReason } from "@florence/proto/decoder";
import { expect, test } from "vitest";
import { type DecoderScript, data, type Json, problemOf, startStack } from "./stack.ts";

const description = "A task of this checkpoint's own.";
const own = [
  { name: "receipt", token: "<RECEIPT>", prompt: "<RECEIPT>", input: "none", answer: "json", description },
  { name: "doc_vqa", token: "<DocVQA>", prompt: "<DocVQA>{input}", input: "text", answer: "pure_text", description },
  { name: "doc_region", token: "<DocRegion>", prompt: "{input}", input: "region", answer: "bboxes", description },
];
const ofTheFuture = { ...own[0], name: "hologram", token: "<HOLOGRAM>", answer: "voxels" };

/** A stack whose checkpoint brings tasks; every answer is a text. */
function startWithTasks(answerText: string) {
  const decoder: DecoderScript = {
    async *generate({ tasks }) {
      for (const taskIndex of tasks.keys())
        yield { taskIndex, event: { case: "result", value: { answerText, finishReason: FinishReason.STOP } } };
    },
    getDecoderModel: async () => ({ model: { name: "tuned", digest: "d1".repeat(32), tasks: [...own, ofTheFuture] } }),
  };
  return startStack({ decoder });
}

test("GET /v1/tasks lists the loaded checkpoint's tasks behind Florence-2's", async () => {
  await using stack = await startWithTasks("");
  const { tasks } = (await (await stack.get("/v1/tasks")).json()) as Json;
  expect(tasks).toHaveLength(16 + own.length);
  expect(tasks.slice(16)).toEqual(own.map(({ prompt: _, ...row }) => row));
});

test("a checkpoint's own task is asked by name or token, with its input apart or behind it, in every form", async () => {
  await using stack = await startWithTasks("21 May");
  const body = { image: { data } };
  const form = new FormData();
  form.set("image", new Blob([Buffer.from(data, "base64")]));
  form.set("tasks", JSON.stringify(["<DocVQA>=When: now?", "doc_vqa=When: now?"].map((task) => ({ task }))));
  const calls = [
    () => stack.json({ ...body, tasks: [{ task: "<DocVQA>", text: "When: now?" }, { task: "doc_vqa:When: now?" }] }),
    () => stack.raw("task=doc_vqa:When:%20now?&task=<DocVQA>When:%20now?"),
    () => fetch(`${stack.url}/v1/annotate`, { method: "POST", body: form }),
  ];
  for (const call of calls) {
    const { results } = (await (await call()).json()) as Json;
    expect(results.map(({ task, answer }: Json) => ({ task, answer }))).toEqual(
      Array(2).fill({ task: "doc_vqa", answer: { "<DocVQA>": "21 May" } }),
    );
    expect(stack.generates.at(-1)?.tasks.map(({ name, input }) => ({ name, input }))).toEqual(
      Array(2).fill({ name: "doc_vqa", input: "When: now?" }),
    );
  }
  const inPixels = { ...body, tasks: [{ task: "<DocRegion>0,0,100,50" }, { task: "caption" }] };
  expect((await stack.json(inPixels)).status).toBe(200);
  expect(stack.generates.at(-1)?.tasks[0]?.input).toBe("<loc_0><loc_0><loc_500><loc_500>");
});

test("what is wrong with such a task is said as with Florence-2's", async () => {
  await using stack = await startWithTasks("");
  const cases: [string, object][] = [
    ["task_unknown", { task: "<NOTHING>here" }],
    ["task_unknown", { task: "hologram" }],
    ["task_input_missing", { task: "doc_vqa" }],
    ["task_input_unexpected", { task: "<RECEIPT>total" }],
    ["task_input_unexpected", { task: "<DocVQA>When?", text: "Where?" }],
    ["prompt_too_long", { task: `<DocVQA>${"x".repeat(2001)}` }],
    ["body_invalid", { task: "<DocVQA>\u0007" }],
  ];
  for (const [code, task] of cases) {
    const problem = await problemOf(await stack.json({ image: { data }, tasks: [{ task: "caption" }, task] }));
    expect({ code: problem.code, detail: problem.detail }).toEqual({
      code,
      detail: expect.stringMatching(/^tasks\[1\]/),
    });
  }
  expect(stack.encodes).toEqual([]);
  const unknown = await problemOf(await stack.json({ image: { data }, tasks: [{ task: "nothing" }] }));
  expect(unknown.detail).toMatch(/caption, .*receipt, doc_vqa, doc_region\.$/);
});

test("a json answer is the JSON of its text; a text that is none stands for itself, with a warning", async () => {
  const asked = { image: { data }, tasks: [{ task: "receipt" }] };
  {
    await using stack = await startWithTasks('{"total": 12.5, "items": []}');
    const { results } = (await (await stack.json(asked)).json()) as Json;
    expect(results[0].answer).toEqual({ "<RECEIPT>": { total: 12.5, items: [] } });
    expect(results[0]).not.toHaveProperty("warnings");
  }
  await using stack = await startWithTasks('{"total": 12.5');
  const { results } = (await (await stack.json(asked)).json()) as Json;
  expect(results[0]).toMatchObject({
    answer: { "<RECEIPT>": '{"total": 12.5' },
    warnings: [{ code: "answer_not_json", message: expect.any(String) }],
  });
});

test("while no decoder says what it has, only a task that is not Florence-2's must wait for it", async () => {
  await using stack = await startStack({ env: { FLORENCE_DECODER: "127.0.0.1:1" } });
  const codeOf = async (task: string) =>
    (await problemOf(await stack.json({ image: { data }, tasks: [{ task }] }))).code;
  expect(await codeOf("<CAPTION>of what?")).toBe("task_input_unexpected");
  expect(await codeOf("receipt")).toBe("unavailable");
  expect((await problemOf(await stack.get("/v1/tasks"))).code).toBe("unavailable");
});

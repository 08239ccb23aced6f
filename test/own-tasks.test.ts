import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { annotateJson, annotateRaw } from "./support/annotate.ts";
import { root, startServices } from "./support/services.ts";

const folder = mkdtempSync(join(tmpdir(), "florence-own-tasks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const demo = (name: string) => join(root, "models/demo", name);
const reading = "What is the text in the image?";
const checkpoint = join(folder, "tuned");
cpSync(join(root, "models/florence-2-drawn"), checkpoint, { recursive: true });
writeFileSync(
  join(checkpoint, "tasks.json"),
  JSON.stringify({
    tasks: [
      { name: "generate_tags" },
      { name: "doc_vqa", token: "<DocVQA>", input: "text" },
      // What the drawn model reads is JSON where it takes a word for a number.
      { name: "receipt", token: "<RECEIPT>", prompt: reading, answer: "json" },
    ],
  }),
);

/** Runs the real command. */
async function run(...args: string[]) {
  const words = [join(root, "apps/cli/src/main.ts"), "run", ...args];
  const env = { ...process.env, FLORENCE_CACHE: join(folder, "cache") };
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: root, env });
  return stdout;
}

test("a fine-tune's own tasks are answered over HTTP and on the command line as their prompts are", {
  timeout: 120_000,
}, async () => {
  await using services = await startServices(checkpoint);
  const options = { num_beams: 1, max_new_tokens: 8, details: true };
  const tasks = [
    { task: "<GENERATE_TAGS>" },
    { task: "doc_vqa", text: "Who?" },
    { task: "receipt" },
    { task: "prompt", text: "<GENERATE_TAGS>" },
    { task: "prompt:<DocVQA>Who?" },
    { task: "prompt", text: reading },
  ];
  const { results } = await annotateJson(services.url, readFileSync(demo("sign.png")), tasks, options);
  for (const i of [0, 1, 2]) expect(results[i]?.ids).toEqual(results[i + 3]?.ids);
  const tags = results[3]?.answer?.["<GENERATE_TAGS>"];
  const who = results[4]?.answer?.["<DocVQA>Who?"];
  expect(results.slice(0, 3).map(({ answer }) => answer)).toEqual([
    { "<GENERATE_TAGS>": tags },
    { "<DocVQA>": who },
    { "<RECEIPT>": 741 },
  ]);

  const query = "task=<RECEIPT>&task=<DocVQA>Who?&num_beams=1&max_new_tokens=8";
  const word = await annotateRaw(services.url, readFileSync(demo("shapes.png")), query);
  expect(word.results[0]).toMatchObject({
    answer: { "<RECEIPT>": "Summer" },
    warnings: [{ code: "answer_not_json" }],
  });

  const asked = [
    "-t",
    "generate_tags",
    "-t",
    "<DocVQA>Who?",
    "-t",
    "<RECEIPT>",
    "--beams",
    "1",
    "--max-new-tokens",
    "8",
  ];
  for (const where of [
    ["--server", services.url],
    ["--model", checkpoint],
  ]) {
    const printed = JSON.parse(await run(demo("sign.png"), ...asked, ...where, "--json"));
    expect(printed.results).toMatchObject([
      { task: "generate_tags", token: "<GENERATE_TAGS>", input: null, answer: { "<GENERATE_TAGS>": tags } },
      { task: "doc_vqa", token: "<DocVQA>", input: "Who?", answer: { "<DocVQA>": who } },
      { task: "receipt", token: "<RECEIPT>", input: null, answer: { "<RECEIPT>": 741 } },
    ]);
  }
  const people = await run(demo("sign.png"), ...asked, "--server", services.url);
  expect(people).toContain("\n  receipt: 741\n");
  const other = join(folder, "other.json");
  writeFileSync(other, JSON.stringify({ tasks: [{ name: "read_aloud", prompt: reading }] }));
  expect(await run(demo("sign.png"), "-t", "read_aloud", "--model", checkpoint, "--tasks", other)).toContain("741");
  await expect(run(demo("sign.png"), "-t", "receipt", "--model", checkpoint, "--tasks", other)).rejects.toThrow(
    /There is no task "receipt"\. The tasks are caption, .*, read_aloud\./,
  );
});

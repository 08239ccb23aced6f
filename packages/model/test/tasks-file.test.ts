import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildPrompt, findTask, openCheckpoint, prepareModel, tasksOf } from "../src/index.ts";
import { fixtures, temporaryFolder } from "./model-fixture.ts";

const native = join(fixtures, "odd-windows/native");

test("a fine-tune's own tasks are part of the built model, beside Florence-2's", async () => {
  using folder = temporaryFolder();
  const copy = join(folder.path, "checkpoint");
  cpSync(native, copy, { recursive: true });
  const rows = [
    { name: "generate_tags" },
    { name: "receipt", token: "<RECEIPT>", prompt: "Read the receipt: {input}", answer: "text" },
    { name: "doc_region", token: "<DocRegion>", input: "region", answer: "boxes", description: "Boxes of a form." },
  ];
  writeFileSync(join(copy, "tasks.json"), JSON.stringify({ tasks: rows }));
  const { manifest } = await prepareModel(copy, { cacheFolder: join(folder.path, "cache") });
  const all = tasksOf(manifest);
  expect(all.length).toBe(16 + rows.length);
  expect(buildPrompt(findTask("<GENERATE_TAGS>", all))).toBe("<GENERATE_TAGS>");
  expect(buildPrompt(findTask("receipt", all), "total")).toBe("Read the receipt: total");
  expect(findTask("<DocRegion>", all)).toEqual({
    name: "doc_region",
    token: "<DocRegion>",
    prompt: "<DocRegion>{input}",
    input: "region",
    answer: "description_with_bboxes",
    description: "Boxes of a form.",
  });
  expect(() => findTask("receipt")).toThrow(/There is no task "receipt"/);

  const elsewhere = join(folder.path, "mine.json");
  writeFileSync(elsewhere, JSON.stringify({ tasks: [{ name: "mine" }] }));
  expect(openCheckpoint(copy, { tasks: elsewhere }).tasks.map(({ name }) => name)).toEqual(["mine"]);
  expect(openCheckpoint(native).tasks).toEqual([]);
  expect(() => openCheckpoint(native, { tasks: join(folder.path, "nothing.json") })).toThrow(/no file of tasks/);
  const built = await prepareModel(native, { cacheFolder: join(folder.path, "cache"), tasks: elsewhere });
  expect(built.manifest.tasks?.map(({ name }) => name)).toEqual(["mine"]);
  await expect(
    prepareModel(built.folder, { cacheFolder: join(folder.path, "cache"), tasks: elsewhere }),
  ).rejects.toThrow(/is built already/);
});

test.each([
  ["no list", {}, /must hold a list "tasks"/],
  ["a name with spaces", { tasks: [{ name: "Generate tags" }] }, /row 1 needs a name/],
  ["one of Florence-2's names", { tasks: [{ name: "caption" }] }, /caption .* is there already/],
  ["one of Florence-2's tokens", { tasks: [{ name: "mine", token: "<OD>" }] }, /mine \(<OD>\) is there already/],
  ["a name twice", { tasks: [{ name: "mine" }, { name: "mine", token: "<B>" }] }, /mine .* is there already/],
  ["a token that is none", { tasks: [{ name: "mine", token: "MINE" }] }, /must stand between < and >/],
  ["an input without a place", { tasks: [{ name: "mine", input: "text", prompt: "Read." }] }, /must hold \{input\}/],
  [
    "a kind that is none",
    { tasks: [{ name: "mine", answer: "xml" }] },
    /answer of mine must be one of text, json, boxes/,
  ],
  ["a key that is none", { tasks: [{ name: "mine", kind: "text" }] }, /unknown key kind/],
])("%s is refused", (_, json, says) => {
  using folder = temporaryFolder();
  mkdirSync(folder.path, { recursive: true });
  const file = join(folder.path, "tasks.json");
  writeFileSync(file, JSON.stringify(json));
  expect(() => openCheckpoint(native, { tasks: file })).toThrow(says);
});

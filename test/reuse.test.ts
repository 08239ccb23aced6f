import { tasks } from "@florence/model";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { annotateForm, annotateJson, annotateRaw, type TaskRequest } from "./support/annotate.ts";
import { fixture, startServices, type TestServices } from "./support/services.ts";

let services: TestServices;
beforeAll(async () => {
  services = await startServices("models/florence-2-drawn");
});
afterAll(() => services[Symbol.asyncDispose]());

const region = { x1: 20, y1: 20, x2: 200, y2: 200 };
const allTasks: TaskRequest[] = tasks
  .filter(({ name }) => name !== "prompt")
  .map(({ name, input }) => ({
    task: name,
    ...(input === "text" && { text: "a red circle" }),
    ...(input === "region" && { region }),
  }));
const greedy = { num_beams: 1 };

test("all 15 tasks of one image in one call cost one encoding", async () => {
  const before = await services.encodings();
  const answer = await annotateJson(services.url, fixture("drawn/scene-900000.png"), allTasks, greedy);
  expect(answer.results.map((r) => r.task)).toEqual(allTasks.map((t) => t.task));
  expect(answer.results.every((r) => r.answer !== undefined)).toBe(true);
  expect(answer.results).toHaveLength(15);
  expect(answer.cache).toMatchObject({ result: "miss", encodings: 1 });
  expect((await services.encodings()) - before).toBe(1);
});

test("the same image later costs none, and gives the same answers", async () => {
  const first = await annotateJson(services.url, fixture("drawn/scene-900001.png"), allTasks, greedy);
  const before = await services.encodings();
  const again = await annotateJson(services.url, fixture("drawn/scene-900001.png"), allTasks, greedy);
  expect(again.cache).toEqual({ result: "hit", tier: "memory", encodings: 0 });
  expect(again.results.map((r) => r.answer)).toEqual(first.results.map((r) => r.answer));
  expect(await services.encodings()).toBe(before);
});

test("an image sent in parallel as PNG, as other files of the same pixels and in every form costs one encoding", async () => {
  const png = fixture("drawn/scene-900003.png");
  const webp = new Uint8Array(await sharp(png).webp({ lossless: true }).toBuffer());
  const packed = new Uint8Array(await sharp(png).png({ palette: false, compressionLevel: 1 }).toBuffer());
  const before = await services.encodings();
  const answers = await Promise.all([
    annotateRaw(services.url, png, "task=caption&num_beams=1"),
    annotateRaw(services.url, webp, "task=caption&num_beams=1", "image/webp"),
    annotateJson(services.url, packed, [{ task: "caption" }], greedy),
    annotateForm(services.url, png, [{ task: "caption" }], greedy),
  ]);
  expect(new Set(answers.map((a) => a.results[0]?.text)).size).toBe(1);
  expect(answers.map((a) => a.cache.encodings).reduce((n, e) => n + e)).toBe(1);
  expect((await services.encodings()) - before).toBe(1);
});

test("an image's id stands for its bytes", async () => {
  const { image } = await annotateRaw(services.url, fixture("drawn/scene-900004.png"), "task=caption&num_beams=1");
  const before = await services.encodings();
  const response = await fetch(`${services.url}/v1/annotate`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ image: { id: image.id }, tasks: [{ task: "object_detection" }], options: greedy }),
  });
  expect(response.status).toBe(200);
  expect(await services.encodings()).toBe(before);
});

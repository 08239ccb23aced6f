import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { annotateForm, annotateJson } from "./support/annotate.ts";
import { fixture, root, startServices } from "./support/services.ts";

/** A checkpoint whose tokenizer knows a token that the embedding has no row for, as when tokens are added and nothing is resized. */
function withTokenTooMany(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "florence-test-"));
  cpSync(join(root, "test/fixtures/odd-windows/original"), path, { recursive: true });
  rmSync(join(path, "tokenizer.json")); // vocab.json and merges.txt stand for it
  writeFileSync(join(path, "added_tokens.json"), JSON.stringify({ "<NEWTOKEN>": 1924 }));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const options = { num_beams: 1, max_new_tokens: 16 };
const good = [{ task: "prompt", text: "What does the image describe?" }];
const bad = { task: "prompt", text: "What is <NEWTOKEN> in the image?" };

test("60 requests at once, 10 of them with a token that the weights do not know: the 50 others are answered, and rightly", {
  timeout: 60_000,
}, async () => {
  using folder = withTokenTooMany();
  await using services = await startServices(folder.path, {
    FLORENCE_GATEWAY_REQUESTS_MAX: "60",
    FLORENCE_DECODER_REQUESTS_MAX: "60",
  });
  const image = fixture("odd-windows/picture-0.png");
  const alone = (await annotateForm(services.url, image, good, options)).results[0]?.answer;
  expect(alone).toBeDefined();
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, i) => annotateForm(services.url, image, i % 6 === 0 ? [bad] : good, options)),
  );
  const codes = answers.filter((_, i) => i % 6 === 0).map((a) => a.code ?? a.results?.[0]?.error?.code);
  expect(codes).toEqual(Array(10).fill("prompt_token_invalid"));
  const right = answers.filter(
    (a, i) => i % 6 !== 0 && JSON.stringify(a.results?.[0]?.answer) === JSON.stringify(alone),
  );
  expect(right).toHaveLength(50);
  // And the next call is answered too, by the worker that was there all along.
  expect((await annotateForm(services.url, image, good, options)).results[0]?.answer).toEqual(alone);
});

test("such a task fails in its place: the other tasks of its call are answered", { timeout: 60_000 }, async () => {
  using folder = withTokenTooMany();
  await using services = await startServices(folder.path);
  const { results } = await annotateJson(services.url, fixture("odd-windows/picture-0.png"), [bad, ...good], options);
  expect(results[0]?.error).toMatchObject({
    code: "prompt_token_invalid",
    detail: expect.stringContaining("<NEWTOKEN>"),
  });
  expect(results[1]?.answer).toBeDefined();
});

test("<image> in a text is refused, as the reference refuses it: it is no word but the image's place", {
  timeout: 60_000,
}, async () => {
  await using services = await startServices("test/fixtures/odd-windows/native");
  const tasks = [{ task: "phrase_grounding", text: "a cat on an <image> of a dog" }, ...good];
  const { results } = await annotateJson(services.url, fixture("odd-windows/picture-0.png"), tasks, options);
  expect(results[0]?.error).toMatchObject({ code: "prompt_token_invalid", detail: expect.stringContaining("<image>") });
  expect(results[1]?.answer).toBeDefined();
});

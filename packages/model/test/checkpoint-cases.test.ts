import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkCheckpoint, encodePrompt, findTask, ModelError, openCheckpoint, prepareModel } from "../src/index.ts";
import { generate } from "../src/inference/index.ts";
import { checkpointCases } from "./checkpoint-cases.ts";
import { fixtures, goldenOptions, loadFolder, readGoldens, temporaryFolder } from "./model-fixture.ts";

const golden = readGoldens("odd-windows").slice(0, 2);

describe.each(checkpointCases)("$folder: $happens", ({ make, options, refused, note, otherIds }) => {
  test(refused ? "one clear line" : "the reference's ids", async () => {
    using folder = temporaryFolder();
    using cache = temporaryFolder();
    const path = make(folder.path) ?? folder.path;
    const prepare = () => prepareModel(path, { cacheFolder: cache.path, ...options?.(folder.path) });
    if (refused) {
      const error = await prepare().then(
        () => undefined,
        (thrown) => thrown,
      );
      expect(error).toBeInstanceOf(ModelError);
      expect([error.code, error.message]).toEqual([refused[0], expect.stringMatching(refused[1])]);
      expect(error.message.split("\n")).toHaveLength(1);
      return;
    }
    const built = await prepare();
    const { notes = [] } = built.manifest;
    expect(notes.join("\n")).toMatch(note ?? /^$/);
    // What describes a checkpoint without building it says the same.
    const checkpoint = openCheckpoint(path, options?.(folder.path));
    expect(await checkCheckpoint(checkpoint)).toEqual({ notes, digest: built.manifest.digest });
    if (otherIds) return;
    await using model = await loadFolder(built);
    const features = await model.encode(join(fixtures, "odd-windows", golden[0]?.image as string));
    const requests = golden.flatMap((c) =>
      c.runs.map((run) => ({
        promptIds: encodePrompt(model, findTask(c.task), c.input ?? undefined),
        options: goldenOptions(run),
      })),
    );
    const finished = await generate(model, features, requests, model.tokenizer.size);
    expect(finished.map(({ ids }) => ids)).toEqual(golden.flatMap((c) => c.runs.map((run) => run.ids)));
  });
});

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { precisions, prepareModel } from "@florence/model";
import { describe, expect, test } from "vitest";
import { annotateForm, type Result } from "./support/annotate.ts";
import { fixture, root, startServices } from "./support/services.ts";

const names = readdirSync(join(root, "test/fixtures/drawn"))
  .filter((name) => name.startsWith("scene-"))
  .sort()
  .slice(0, 16);
const tasks = ["object_detection", "caption", "ocr_with_region"];
const requests = names.flatMap((name) => tasks.map((task) => ({ image: fixture(`drawn/${name}`), task })));
// Long enough to decode in company for a while; a difference in an image's or a prompt's encoding shows in the first tokens.
const options = { num_beams: 1, max_new_tokens: 24, details: true };

type Asked = (typeof requests)[number];

async function answer(url: string, { image, task }: Asked): Promise<Result> {
  const { status, results } = await annotateForm(url, image, [{ task }], options);
  expect(status).toBe(200);
  return results[0] as Result;
}

describe.each(precisions)("in %s", (precision) => {
  test("an image's answers are the same alone and among 48 at once", { timeout: 60_000 }, async () => {
    const cacheFolder = mkdtempSync(join(tmpdir(), "florence-test-"));
    try {
      const { folder } = await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder, precision });
      const alone: Result[] = [];
      {
        await using services = await startServices(folder);
        for (const request of requests) alone.push(await answer(services.url, request));
      }
      // A server of its own, so that nothing is stored and all images are encoded in company.
      await using services = await startServices(folder);
      const together = await Promise.all(requests.map((request) => answer(services.url, request)));
      expect(await services.encodings()).toBe(names.length);

      const differ = requests.flatMap(({ task }, i) =>
        alone[i]?.text === together[i]?.text ? [] : [`${task}: ${alone[i]?.text} | ${together[i]?.text}`],
      );
      expect(differ).toEqual([]);
      expect(alone).toHaveLength(48);
      for (const [i, { text, score }] of alone.entries()) {
        expect(text?.length).toBeGreaterThan(0);
        expect(Math.abs((together[i]?.score as number) - (score as number))).toBeLessThan(1e-5);
      }
    } finally {
      rmSync(cacheFolder, { recursive: true, force: true });
    }
  });
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, describe, expect, test } from "vitest";
import { prepareModel } from "../src/index.ts";
import { fixtures, root, temporaryFolder } from "./model-fixture.ts";

const cache = temporaryFolder();
afterAll(() => cache[Symbol.dispose]());
const { folder } = await prepareModel(join(fixtures, "odd-windows/native"), { cacheFolder: cache.path });

const program = join(root, "packages/model/test/run-vision.ts");
const inWorker = `
  import { Worker } from "node:worker_threads";
  import "${join(root, "packages/model/src/index.ts")}";
  new Worker(${JSON.stringify(program)}, { workerData: ${JSON.stringify(folder)}, execArgv: [] });`;

/** Runs Node with an empty home folder and says what was written there. */
async function written(args: readonly string[], env: Record<string, string> = {}) {
  using home = temporaryFolder();
  const own = { PATH: process.env.PATH, HOME: home.path, USERPROFILE: home.path, LOCALAPPDATA: home.path };
  const child = spawn(process.execPath, args, { env: { ...own, ...env }, stdio: ["ignore", "ignore", "pipe"] });
  const errors = text(child.stderr);
  const [code] = await once(child, "exit");
  return { code, errors: await errors, files: readdirSync(home.path, { recursive: true }) };
}

describe("the runtime writes nothing of its own into the user's folders", () => {
  test("in a process", async () => {
    expect(await written([program, folder])).toEqual({ code: 0, errors: "", files: [] });
  });

  test("in a worker thread", async () => {
    const args = ["--input-type=module-typescript", "-e", inWorker];
    expect(await written(args)).toEqual({ code: 0, errors: "", files: [] });
  });

  test("which this test would see: it does when its owner allows it", async () => {
    const { code, files } = await written([program, folder], { ORT_DISABLE_TELEMETRY: "0" });
    expect(code).toBe(0);
    expect(files).not.toEqual([]);
  });

  test("because a worker refuses to load it when the main thread has not seen to that", async () => {
    const unseen = inWorker.replace(/import ".*";/, "");
    const { code, errors } = await written(["--input-type=module-typescript", "-e", unseen]);
    expect(code).toBe(1);
    expect(errors).toContain("must import @florence/model");
  });
});

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const program = join(root, "apps/cli/src/main.ts");
const folder = mkdtempSync(join(tmpdir(), "florence-cli-test-"));
const env = { ...process.env, FLORENCE_CACHE: join(folder, "cache") };
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the real command in the repository's root. */
async function florence(...args: string[]): Promise<Ran> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, ...args], {
      cwd: root,
      env,
      maxBuffer: 64 * 1024 * 1024,
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

/** Starts `florence serve` on a free port and waits until it says that it answers. */
async function serve(...args: string[]) {
  const child = spawn(process.execPath, [program, "serve", "--port", "0", ...args], {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.resume();
  while (!/curl|listens/.test(stdout))
    await Promise.race([
      once(child.stdout, "data"),
      once(child, "exit").then(() => Promise.reject(new Error("it ended"))),
    ]);
  return {
    stdout,
    url: /http:\/\/localhost:\d+/.exec(stdout)?.[0] as string,
    [Symbol.dispose]: () => void child.kill("SIGKILL"), // when a test fails half way
    async stop(signal: NodeJS.Signals): Promise<number | null> {
      const exited = once(child, "exit");
      child.kill(signal);
      return ((await exited) as [number | null])[0];
    },
  };
}

interface GoldenCase {
  readonly image: string;
  readonly task: string;
  readonly input: string | null;
  readonly promptIds: number[];
  readonly runs: {
    beams: number;
    ids: number[];
    text: string;
    answer: object;
    tokenLogProbs: number[];
    score?: number;
  }[];
}
const goldens = (fixture: string): GoldenCase[] =>
  JSON.parse(readFileSync(join(root, "test/fixtures", fixture, "goldens.json"), "utf8")).cases;

describe("florence run", () => {
  test.each([
    ["odd-windows", "native"],
    ["odd-windows", "original"],
    ["even-windows", "native"],
    ["even-windows", "original"],
  ])("prints the goldens of %s in the %s layout as JSON, one object an image", async (fixture, layout) => {
    const cases = goldens(fixture);
    const images = [...new Set(cases.map((c) => c.image))];
    const asked = cases.filter((c) => c.image === images[0]);
    const tasks = asked.flatMap(({ task, input }) => ["--task", input === null ? task : `${task}=${input}`]);
    const files = images.map((p) => join("test/fixtures", fixture, p));
    const flags = [
      "--beams",
      "3",
      "--max-new-tokens",
      "40",
      "--no-auto-orient",
      "--json",
      "--model",
      `test/fixtures/${fixture}/${layout}`,
    ];
    const { code, stdout } = await florence("run", ...files, ...tasks, ...flags);
    expect(code).toBe(0);
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map((line) => line.image)).toEqual(files);
    expect(lines.map((line) => line.picture)).toEqual(files);
    for (const [p, line] of lines.entries()) {
      expect(Object.keys(line)).toEqual(["image", "picture", "width", "height", "model", "results"]);
      expect(Object.keys(line.model)).toEqual(["name", "precision", "digest"]);
      for (const [i, result] of line.results.entries()) {
        const { task, input } = asked[i] as GoldenCase;
        const golden = cases.filter((c) => c.image === images[p]).find((c) => c.task === task && c.input === input);
        expect(Object.keys(result)).toEqual([
          "task",
          "token",
          "input",
          "answer",
          "text",
          "ids",
          "promptIds",
          "tokenLogProbs",
          "score",
          "finishReason",
        ]);
        expect({ token: result.token, input: result.input }).toEqual({ token: task, input });
        if (!golden) continue; // a region in pixels of the first image has other bins in the second
        const run = golden.runs.find((r) => r.beams === 3) as GoldenCase["runs"][number];
        expect(result).toMatchObject({ ids: run.ids, text: run.text, promptIds: golden.promptIds });
        expect(result.score).toBeCloseTo(run.score as number, 2);
        expect(result.tokenLogProbs).toHaveLength(run.ids.length - 1);
        const answer = JSON.parse(JSON.stringify(result.answer), (key, value) =>
          /scores$/.test(key) ? undefined : value,
        );
        expect(answer).toEqual(run.answer);
      }
    }
  });

  test("takes a region in pixels and a task by its token, and says the answer for people", async () => {
    const { code, stdout } = await florence(
      "run",
      "models/demo/shapes.png",
      "-t",
      "<OD>",
      "-t",
      "region_category=17,224,219,461",
      "--beams",
      "1",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/diamond +0\.\d\d {2}\[\d+,\d+,\d+,\d+\]/);
    expect(stdout).toContain("region_category: star");
  });

  test("keeps the other answers when one task fails, and exits with 1", async () => {
    const { code, stdout, stderr } = await florence(
      "run",
      "models/demo/shapes.png",
      "-t",
      "caption",
      "-t",
      "region_ocr=0,0,9999,10",
      "--json",
    );
    expect(code).toBe(1);
    const { results } = JSON.parse(stdout);
    expect(results[0].answer["<CAPTION>"]).toContain("an orange heart, a brown star");
    expect(results[1].error.code).toBe("region_invalid");
    expect(stderr).toContain("region_ocr");
  });

  test("answers the other images when one cannot be read, and exits with 1", async () => {
    const { code, stdout, stderr } = await florence(
      "run",
      "models/demo/shapes.png",
      "README.md",
      "models/demo/pair.png",
      "-t",
      "caption",
      "--json",
    );
    expect(code).toBe(1);
    expect(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).image),
    ).toEqual(["models/demo/shapes.png", "models/demo/pair.png"]);
    expect(stderr).toContain("README.md");
  });

  test("says what was done to an image and a text, for people beside the answer and for scripts in it", async () => {
    const file = join(folder, "half.png");
    const background = { r: 200, g: 20, b: 30, alpha: 0.5 };
    await sharp({ create: { width: 64, height: 64, channels: 4, background } })
      .png()
      .toFile(file);
    const ask = ["run", file, "-t", "phrase_grounding= a red square", "--beams", "1"];
    const people = await florence(...ask);
    expect(people.code).toBe(0);
    expect(people.stderr.trim().split("\n")).toEqual([
      `${file}: warning: Some pixels are transparent: their stored colours were read as if they were not. Set a background to see them on it.`,
      `${file}: warning: phrase_grounding: White space around the text was left out.`,
    ]);
    expect(people.stdout).not.toContain("warning");
    const codes = (list?: { code: string }[]) => list?.map(({ code }) => code);
    const scripts = await florence(...ask, "--json");
    expect(scripts.stderr).toBe("");
    const { warnings, results } = JSON.parse(scripts.stdout);
    expect([codes(warnings), codes(results[0].warnings)]).toEqual([["alpha_dropped"], ["text_trimmed"]]);
    const out = join(folder, "on-white.png");
    const drawn = await florence("run", file, "-t", "caption", "--background", "#ffffff", "--draw", out);
    expect(drawn.stderr).toBe(`drawn: ${out}\n`);
    expect([...(await sharp(out).raw().toBuffer()).subarray(0, 3)]).toEqual([227, 137, 142]);
  });

  test("draws what it found", async () => {
    const out = join(folder, "drawn/answer.png");
    const { code } = await florence("run", "models/demo/shapes.png", "-t", "object_detection", "--draw", out);
    expect(code).toBe(0);
    const drawn = await sharp(out).raw().toBuffer();
    const plain = await sharp(join(root, "models/demo/shapes.png")).removeAlpha().raw().toBuffer();
    expect(drawn.length).toBe(plain.length);
    const changed = drawn.filter((value, i) => value !== plain[i]).length;
    expect(changed / drawn.length).toBeGreaterThan(0.01);
    expect(changed / drawn.length).toBeLessThan(0.5);
  });
});

describe("what is wrong is said in one line", () => {
  test.each([
    [2, ["run", "models/demo/shapes.png", "--task", "caption", "--frobnicate"]],
    [2, ["run", "--task", "caption"]],
    [2, ["dance"]],
    [2, ["run", "models/demo/shapes.png", "--task", "caption", "--beams", "many"]],
    [2, ["run", "models/demo/shapes.png", "--task", "caption", "--background", "white"]],
    [2, ["serve", "--role", "cook"]],
    [1, ["run", "models/demo/shapes.png", "--task", "make_coffee"]],
    [1, ["run", "nowhere.png", "--task", "caption"]],
    [1, ["run", "README.md", "--task", "caption"]],
    [1, ["run", "models/demo/shapes.png", "--task", "caption", "--beams", "9"]],
    [1, ["run", "models/demo/shapes.png", "--task", "caption", "--model", "nowhere"]],
    [1, ["info", "models/demo"]],
  ])("with exit code %i: florence %j", async (expected, args) => {
    const { code, stdout, stderr } = await florence(...args);
    expect(code).toBe(expected);
    expect(stdout).toBe("");
    expect(stderr).not.toContain("    at ");
    if (expected === 1) expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^florence: /);
  });

  test("a checkpoint without its weights", async () => {
    const copy = join(folder, "incomplete");
    cpSync(join(root, "test/fixtures/odd-windows/native"), copy, { recursive: true });
    rmSync(join(copy, "model.safetensors"));
    const { code, stderr } = await florence("run", "models/demo/shapes.png", "--task", "caption", "--model", copy);
    expect(code).toBe(1);
    expect(stderr).toContain("model.safetensors is missing");
  });
});

test("--help is everywhere", async () => {
  for (const command of [[], ["serve"], ["run"], ["info"], ["build"], ["verify"], ["cache"]]) {
    const { code, stdout } = await florence(...command, "--help");
    expect(code).toBe(0);
    expect(stdout).toContain("Usage: florence");
  }
});

test("build, info, verify and run work on a built variant, and its figures are kept", async () => {
  const out = join(folder, "built");
  expect((await florence("build", "models/florence-2-drawn", "--precision", "fp16", "--out", out)).code).toBe(0);
  expect(JSON.parse((await florence("info", out, "--json")).stdout)).toMatchObject({
    precision: "fp16",
    verification: "never verified",
  });
  const verified = await florence("verify", out, "--checkpoint", "models/florence-2-drawn");
  expect(verified.stdout).toContain("passed");
  expect(JSON.parse((await florence("info", out, "--json")).stdout)).toMatchObject({
    verification: { passed: true, equalAnswers: 1 },
  });
  const ran = await florence("run", "models/demo/shapes.png", "-t", "caption", "--model", out, "--json");
  expect(JSON.parse(ran.stdout).model.precision).toBe("fp16");
  expect((await florence("verify", out, "--checkpoint", "test/fixtures/odd-windows/native")).code).toBe(2);
});

describe("florence serve", () => {
  test("prints a curl line that works as printed, and SIGTERM ends it with 0", async () => {
    using server = await serve();
    const line = server.stdout.split("\n").find((l) => l.startsWith("curl ")) as string;
    const { stdout } = await promisify(execFile)("sh", ["-c", line], { cwd: folder });
    expect(JSON.parse(stdout).results[0].answer["<OD>"].labels.sort()).toEqual([
      "circle",
      "diamond",
      "heart",
      "square",
      "star",
      "text",
    ]);
    expect(await server.stop("SIGTERM")).toBe(0);
  });

  test("answers a run of another process", async () => {
    using server = await serve("--model", "test/fixtures/odd-windows/native");
    const { code, stdout } = await florence(
      "run",
      "models/demo/shapes.png",
      "-t",
      "<OD>",
      "--json",
      "--server",
      server.url,
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout).model.name).toBe("native");
    expect(await server.stop("SIGINT")).toBe(0);
  });
});

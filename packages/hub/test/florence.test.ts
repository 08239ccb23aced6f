import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { commits, filesUnder, florence, hubAndHome, partsIn, root, until, weights, weightsHash } from "./support.ts";

type Hub = Awaited<ReturnType<typeof hubAndHome>>;

/** Starts a pull that stands still at a byte of the weights, where the hub holds it. */
async function startAndStop(hub: Hub, offset: number) {
  hub.server.trouble.set("model.safetensors", { pauses: [offset] });
  const program = florence(["pull", "me/drawn"], hub.env);
  await until(() => existsSync(hub.blobs) && partsIn(hub.blobs).some(({ bytes }) => bytes === offset));
  return program;
}

const headsOfWeights = (hub: Hub) =>
  hub.server.asked.filter(({ method, path }) => method === "HEAD" && path.endsWith("/model.safetensors")).length;

async function kill({ child, ended }: ReturnType<typeof florence>): Promise<void> {
  child.kill("SIGKILL");
  await ended;
}

describe("florence pull", () => {
  test("that is killed three times shows nothing half-done, fetches no byte twice, and ends with the right digest", async () => {
    await using hub = await hubAndHome();
    const offsets = [4_000_000, 7_000_001, 12_345_678];
    for (const offset of offsets) {
      await kill(await startAndStop(hub, offset));
      expect(partsIn(hub.blobs).map(({ bytes }) => bytes)).toEqual([offset]);
      expect(filesUnder(hub.folder).filter((name) => /^(refs|snapshots)/.test(name))).toEqual([]);
      expect(existsSync(join(hub.blobs, weightsHash))).toBe(false);
    }
    hub.server.trouble.clear();
    const { code, stdout, stderr } = await florence(["pull", "me/drawn"], hub.env).ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${join(hub.folder, "snapshots", commits.first)}\n` });
    expect(stderr).toMatch(
      /^me\/drawn at 111111111111: 14.5 MB in 7 files, 14.2 MB to fetch\nFetching me\/drawn \d+%\n/,
    );
    expect(hub.server.stored.map((asked) => asked.range)).toEqual([undefined, ...offsets.map((n) => `bytes=${n}-`)]);
    expect(hub.server.sentBytes).toBe(weights.length);
    expect(readFileSync(join(stdout.trim(), "model.safetensors")).equals(weights)).toBe(true);
    expect(partsIn(hub.blobs)).toEqual([]);
  });

  test("fetches a fine-tune's adapter and tasks with its weights, and nothing that is not read", async () => {
    const folder = mkdtempSync(join(tmpdir(), "florence-hub-tuned-"));
    try {
      cpSync(join(root, "test/fixtures/even-windows/native"), folder, { recursive: true });
      cpSync(join(root, "test/fixtures/variants/adapters/plain"), folder, { recursive: true });
      writeFileSync(join(folder, "tasks.json"), '{"tasks":[{"name":"generate_tags"}]}');
      for (const file of ["special_tokens_map.json", "training_args.bin"]) writeFileSync(join(folder, file), "{}");
      await using hub = await hubAndHome({ folder });
      const { code, stdout } = await florence(["pull", "me/drawn"], hub.env).ended;
      expect(code).toBe(0);
      const fetched = filesUnder(stdout.trim());
      expect(fetched).toEqual(
        expect.arrayContaining(["adapter_config.json", "adapter_model.safetensors", "tasks.json"]),
      );
      expect(fetched.filter((file) => /^(special|training)/.test(file))).toEqual([]);
      const info = await florence(["info", stdout.trim(), "--json"], hub.env).ended;
      expect(JSON.parse(info.stdout)).toMatchObject({ name: "me/drawn+adapter", tasks: ["generate_tags"] });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("waits for another that is fetching the same file, and fetches it once for both", async () => {
    await using hub = await hubAndHome();
    const first = await startAndStop(hub, 5_000_000);
    const second = florence(["pull", "me/drawn"], hub.env);
    await until(() => headsOfWeights(hub) === 2); // The second is about to fetch them, too.
    hub.server.resume();
    for (const { code, stdout } of await Promise.all([first.ended, second.ended])) {
      expect(code).toBe(0);
      expect(readFileSync(join(stdout.trim(), "model.safetensors")).equals(weights)).toBe(true);
    }
    expect(hub.server.stored).toHaveLength(1);
  });

  test("goes on for another that dies while it waits", async () => {
    await using hub = await hubAndHome();
    const first = await startAndStop(hub, 5_000_000);
    const second = florence(["pull", "me/drawn"], hub.env);
    await until(() => headsOfWeights(hub) === 2);
    await kill(first);
    const { code, stdout } = await second.ended;
    expect(code).toBe(0);
    expect(hub.server.stored.map((asked) => asked.range)).toEqual([undefined, "bytes=5000000-"]);
    expect(readFileSync(join(stdout.trim(), "model.safetensors")).equals(weights)).toBe(true);
  });

  test("five at once all get the right bytes", async () => {
    await using hub = await hubAndHome();
    const all = Array.from({ length: 5 }, () => florence(["pull", "me/drawn"], hub.env).ended);
    for (const { code, stdout, stderr } of await Promise.all(all)) {
      expect({ code, faults: stderr.match(/^florence:.*/m) }).toEqual({ code: 0, faults: null });
      expect(readFileSync(join(stdout.trim(), "model.safetensors")).equals(weights)).toBe(true);
    }
    expect(partsIn(hub.blobs)).toEqual([]);
  });

  test("says in one line that the disk is full, and leaves nothing on it", async () => {
    await using hub = await hubAndHome();
    // No file may have more than 4 MB: for whoever writes the disk is full then.
    const { code, stderr } = await florence(["pull", "me/drawn"], hub.env, "ulimit -f 8000").ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^florence: There is no room left in .*hub \(EFBIG\): free some/m);
    expect(partsIn(hub.blobs)).toEqual([]);
    expect(existsSync(join(hub.blobs, weightsHash))).toBe(false);
  });

  test.each([
    [
      ["pull", "me/nothing"],
      /^florence: There is no me\/nothing on 127.0.0.1:\d+, or it is private: then set HF_TOKEN.\n$/,
    ],
    [["info", "me/nothing"], /^florence: There is no me\/nothing on .* \(There is no folder me\/nothing either.\)\n$/],
    [["pull", "somewhere/else/"], /^florence: somewhere\/else\/ is no name on a hub: .*\n$/],
    [["info", "huge"], /^florence: There is no checkpoint folder at huge.\n$/],
  ])("%j ends with one line", async (args, line) => {
    await using hub = await hubAndHome();
    const { code, stdout, stderr } = await florence(args, hub.env).ended;
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(line);
  });

  test("says in its help what it fetches, where it keeps that and what it reads", async () => {
    const { stdout } = await florence(["pull", "--help"], {}).ended;
    for (const word of [
      "owner/name@revision",
      "base-ft",
      "safetensors",
      "~/.cache/huggingface/hub",
      "HF_TOKEN",
      "HTTPS_PROXY",
    ])
      expect(stdout).toContain(word);
  });
});

describe("--model owner/name", () => {
  interface Golden {
    readonly image: string;
    readonly task: string;
    readonly input: string | null;
    readonly runs: { readonly beams: number; readonly ids: number[] }[];
  }

  test("answers with the reference's ids and the repository's name, and keeps all it writes in the caches", async () => {
    const fixture = join(root, "test/fixtures/odd-windows");
    await using hub = await hubAndHome({ folder: join(fixture, "native") });
    const { cases }: { cases: Golden[] } = JSON.parse(readFileSync(join(fixture, "goldens.json"), "utf8"));
    const asked = cases.filter(({ image, input }) => image === cases[0]?.image && input === null);
    const run = [
      "run",
      join(fixture, cases[0]?.image ?? ""),
      ...asked.flatMap(({ task }) => ["--task", task]),
      ...["--beams", "3", "--max-new-tokens", "40", "--no-auto-orient", "--json", "--model", "me/drawn@main"],
    ];
    const home = join(hub.home, "home");
    const env = { ...hub.env, HOME: home, FLORENCE_CACHE: join(hub.home, "builds") };
    for (const offline of ["0", "1"]) {
      const { code, stdout, stderr } = await florence(run, { ...env, HF_HUB_OFFLINE: offline }).ended;
      expect({ code, stderr: code && stderr }).toEqual({ code: 0, stderr: 0 });
      const { model, results } = JSON.parse(stdout);
      expect(model.name).toBe("me/drawn");
      expect(results.map((result: { ids: number[] }) => result.ids)).toEqual(
        asked.map(({ runs }) => runs.find(({ beams }) => beams === 3)?.ids),
      );
    }
    expect(asked.length).toBeGreaterThan(2);
    expect(hub.server.stored).toHaveLength(1);
    expect(existsSync(home)).toBe(false);
  });
});

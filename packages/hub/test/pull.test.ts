import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readHubSettings } from "../src/config.ts";
import { findModel, requireModelName } from "../src/index.ts";
import { gitSha1 } from "./hub-server.ts";
import { choose, commits, drawn, failure, filesUnder, hubAndHome, partsIn, weights, weightsHash } from "./support.ts";

const checkpointFiles = readdirSync(drawn).filter((name) => name !== "README.md");

describe("a pull", () => {
  test("leaves the files in the layout of Python's library: blobs by hash, links to them, and what main is", async () => {
    await using hub = await hubAndHome();
    const { folder, name, commit, plan } = await hub.pull();
    expect({ name, commit }).toEqual({ name: "me/drawn", commit: commits.first });
    expect(folder).toBe(join(hub.folder, "snapshots", commits.first));
    expect(filesUnder(folder)).toEqual(checkpointFiles);
    for (const file of checkpointFiles) {
      const bytes = readFileSync(join(drawn, file));
      const etag = file === "model.safetensors" ? weightsHash : gitSha1(bytes);
      expect(readlinkSync(join(folder, file))).toBe(`../../blobs/${etag}`);
      expect(readFileSync(join(folder, file)).equals(bytes)).toBe(true);
    }
    expect(readFileSync(join(hub.folder, "refs/main"), "utf8")).toBe(commits.first);
    expect(filesUnder(hub.folder)).toHaveLength(2 * checkpointFiles.length + 1);
    const bytes = checkpointFiles.reduce((n, file) => n + readFileSync(join(drawn, file)).length, 0);
    expect(plan).toMatchObject({ files: checkpointFiles.length, bytes, missingBytes: bytes });
  });

  test("fetches nothing twice, not even for another revision", async () => {
    await using hub = await hubAndHome({ revisions: ["v1", "refs/pr/1"] });
    await hub.pull();
    const { sentBytes } = hub.server;
    hub.server.repositories.set("me/drawn", { folder: drawn, commit: commits.second, revisions: ["refs/pr/1"] });
    const { plan, folder } = await hub.pull("me/drawn@refs/pr/1");
    expect(plan.missingBytes).toBe(0);
    expect(hub.server.sentBytes).toBe(sentBytes);
    expect(filesUnder(folder)).toEqual(checkpointFiles);
    expect(readFileSync(join(hub.folder, "refs/refs/pr/1"), "utf8")).toBe(commits.second);
    expect(readFileSync(join(hub.folder, "refs/main"), "utf8")).toBe(commits.first);
  });

  test("takes weights that Python's library has brought before", async () => {
    await using hub = await hubAndHome();
    const snapshot = join(hub.folder, "snapshots", commits.second);
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(hub.blobs);
    writeFileSync(join(hub.blobs, weightsHash), weights);
    symlinkSync(`../../blobs/${weightsHash}`, join(snapshot, "model.safetensors"));
    const { folder } = await hub.pull();
    expect(hub.server.stored).toEqual([]);
    expect(filesUnder(folder)).toEqual(checkpointFiles);
  });

  test("of a private checkpoint sends the token to the hub and never to the storage behind it", async () => {
    await using hub = await hubAndHome({ token: "hf_mine" });
    hub.server.tokens.add("hf_mine");
    writeFileSync(join(hub.home, "token"), "hf_mine\n"); // as a login leaves it
    await hub.pull();
    expect(new Set(hub.server.asked.map((asked) => asked.authorization))).toEqual(new Set(["Bearer hf_mine"]));
    expect(hub.server.stored.map((asked) => asked.authorization)).toEqual([undefined]);
  });

  test("goes through the proxy that the environment names, and past it where it says so", async () => {
    await using hub = await hubAndHome();
    await hub.pull("me/drawn", {
      HF_ENDPOINT: "http://hub.invalid",
      HTTP_PROXY: hub.server.endpoint, // It answers for any host.
      NO_PROXY: "127.0.0.1", // the storage's
    });
    expect(hub.server.asked.length).toBeGreaterThan(checkpointFiles.length);
    expect(hub.server.stored).toHaveLength(1);
  });
});

describe("a checkpoint's name", () => {
  test("means the copy in the cache, without a word to the hub, until it is pulled again", async () => {
    await using hub = await hubAndHome();
    const { folder } = await hub.pull();
    hub.server.repositories.set("me/drawn", { folder: drawn, commit: commits.second });
    hub.server.asked.length = 0;
    const find = (env = {}) =>
      findModel(requireModelName("me/drawn"), { choose, settings: readHubSettings({ ...hub.env, ...env }) });
    expect((await find()).folder).toBe(folder);
    expect((await find({ HF_HUB_OFFLINE: "1" })).folder).toBe(folder);
    expect(hub.server.asked).toEqual([]);
    await hub.pull();
    expect((await find()).commit).toBe(commits.second);
  });

  test("means what the hub has where the cache holds only a part of it, and that part where there is no hub", async () => {
    await using hub = await hubAndHome();
    const snapshot = join(hub.folder, "snapshots", commits.first);
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(join(hub.folder, "refs"));
    for (const file of ["config.json", "model.safetensors"])
      writeFileSync(join(snapshot, file), readFileSync(join(drawn, file)));
    writeFileSync(join(hub.folder, "refs/main"), commits.first);
    const find = (endpoint: string) =>
      findModel(requireModelName("me/drawn"), {
        choose,
        settings: readHubSettings({ ...hub.env, HF_ENDPOINT: endpoint }),
      });
    expect((await find("http://127.0.0.1:1")).folder).toBe(snapshot);
    expect(filesUnder(snapshot)).toHaveLength(2);
    expect((await find(hub.server.endpoint)).folder).toBe(snapshot);
    expect(filesUnder(snapshot)).toEqual(checkpointFiles);
    expect(hub.server.stored).toEqual([]);
  });
});

describe("a line that breaks", () => {
  test("is taken up again where it broke, in the same pull", async () => {
    await using hub = await hubAndHome();
    hub.server.trouble.set("model.safetensors", { cuts: [5_000_000, 3_000_000], statuses: [503] });
    const { folder } = await hub.pull();
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
    expect(hub.server.stored).toHaveLength(4);
    expect(hub.server.sentBytes).toBeLessThan(weights.length + 5_000_000);
    expect(partsIn(hub.blobs)).toEqual([]);
  });

  test("too often is one clear error that says what is kept, and the next pull goes on from there", async () => {
    await using hub = await hubAndHome();
    hub.server.trouble.set("model.safetensors", { cuts: [3_000_000, 10, 10, 10, 10, 10, 10] });
    const { code, message } = await failure(hub.pull());
    expect(code).toBe("hub_interrupted");
    expect(message).toMatch(/^model.safetensors was cut off .* of 14.2 MB are kept/);
    const [part] = partsIn(hub.blobs);
    expect(part?.bytes).toBeGreaterThan(0);
    hub.server.trouble.clear();
    const { folder } = await hub.pull();
    expect(hub.server.stored.at(-1)?.range).toBe(`bytes=${part?.bytes}-`);
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  });

  test("and a server that knows no ranges: from the start, and right", async () => {
    await using hub = await hubAndHome();
    hub.server.trouble.set("model.safetensors", { cuts: [4_000_000], wholeOnly: true });
    const { folder } = await hub.pull();
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  });

  test("by falling silent is noticed", async () => {
    await using hub = await hubAndHome();
    hub.server.trouble.set("model.safetensors", { pauses: [2_000_000] });
    const { folder } = await hub.pull("me/drawn", { HF_HUB_DOWNLOAD_TIMEOUT: "2" });
    expect(hub.server.stored.length).toBeGreaterThan(1);
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  });
});

describe("wrong bytes", () => {
  test("never get a name: one clear error, and nothing is kept of them", async () => {
    await using hub = await hubAndHome();
    hub.server.trouble.set("model.safetensors", { spoiled: 1 });
    expect((await failure(hub.pull())).code).toBe("hub_checksum_wrong");
    expect(
      filesUnder(hub.folder).filter((name) => /incomplete|snapshots|refs/.test(name) || name.includes(weightsHash)),
    ).toEqual([]);
    await hub.pull();
  });

  test("in what an earlier pull left are fetched again", async () => {
    await using hub = await hubAndHome();
    hub.server.trouble.set("model.safetensors", { cuts: [9_000_000], spoiled: 1 });
    const { folder } = await hub.pull();
    expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  });
});

describe("one clear line, with a code, for", () => {
  test.each([
    ["a repository that is not there", "me/nothing", {}, "hub_repository_missing", /^There is no me\/nothing on 127/],
    ["a revision that is not there", "me/drawn@v9", {}, "hub_revision_missing", /^me\/drawn has no revision v9 on 127/],
    ["a token that the hub does not know", "me/drawn", { HF_TOKEN: "hf_wrong" }, "hub_token_refused", /HF_TOKEN/],
    [
      "terms not accepted",
      "me/gated",
      { HF_TOKEN: "hf_mine" },
      "hub_gated",
      /accept its terms: do so at \S+\/me\/gated\.$/,
    ],
    ["terms, and no token", "me/gated", {}, "hub_gated", /do so at \S+\/me\/gated, and give a token .* HF_TOKEN/],
    [
      "no network wanted, nothing here",
      "me/drawn",
      { HF_HUB_OFFLINE: "1" },
      "hub_offline",
      /^me\/drawn is not in .*hub, and HF_HUB_OFFLINE/,
    ],
    [
      "a hub that is not there",
      "me/drawn",
      { HF_ENDPOINT: "http://127.0.0.1:1" },
      "hub_unreachable",
      /127.0.0.1:1: ECONNREFUSED/,
    ],
    ["a server that is no hub", "me/drawn", { HF_ENDPOINT: "no-hub" }, "hub_answer_invalid", /HF_ENDPOINT/],
    ["a repository of something else", "me/images", {}, "checkpoint_file_missing", /^me\/images is no checkpoint/],
  ])("%s", async (_, name, env, code, message) => {
    await using hub = await hubAndHome();
    hub.server.tokens.add("hf_mine");
    hub.server.repositories.set("me/gated", { folder: drawn, commit: commits.first, gated: true, token: "hf_other" });
    hub.server.repositories.set("me/images", { folder: join(drawn, "../demo"), commit: commits.first });
    hub.server.repositories.set("no/hub", { folder: drawn, commit: "none" });
    const more: Record<string, string> = env;
    const fault = await failure(more.HF_ENDPOINT === "no-hub" ? hub.pull("no/hub") : hub.pull(name, more));
    expect(fault.code).toBe(code);
    expect(fault.message).toMatch(message);
    expect(fault.message).not.toMatch(/\n|hf_/);
  });
});

// What the roles' images hold, started by Node alone from a folder outside of the repository.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { prepareModel } from "@florence/model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Assembled, assemble } from "../deploy/images/assemble.ts";
import { type RoleName, roleNames } from "../deploy/images/roles.ts";
import { annotateRaw } from "./support/annotate.ts";
import { type Child, startChild } from "./support/child.ts";
import { report } from "./support/cluster.ts";
import { fixture, root } from "./support/services.ts";

const work = mkdtempSync(join(tmpdir(), "florence-images-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const images = {} as Record<RoleName, Assembled>;
const folderOf = (role: RoleName) => join(work, role);
const filesOf = (role: RoleName) => readdirSync(folderOf(role), { recursive: true }).map(String);
const env = {
  FLORENCE_MODEL: join(root, "models/florence-2-drawn"),
  FLORENCE_CACHE: join(work, "cache"),
  FLORENCE_LOG_LEVEL: "error",
};

beforeAll(async () => {
  for (const role of roleNames) images[role] = await assemble(role, folderOf(role));
});

function start(role: RoleName, settings: Record<string, string> = {}): Promise<Child> {
  return startChild(relative(root, join(folderOf(role), "main.js")), [], { ...env, ...settings });
}

async function healthcheck(role: RoleName, ...args: string[]): Promise<number> {
  const checked = promisify(execFile)(process.execPath, [join(folderOf(role), "healthcheck.js"), ...args], { env: {} });
  return checked.then(
    () => 0,
    (error: { code: number }) => error.code,
  );
}

test("a gateway's image holds no runtime, no image library and no native code, and is a few megabytes", () => {
  const { bytes, packages } = images.gateway;
  report(`images without Node: ${roleNames.map((role) => `${role} ${(images[role].bytes / 1e6).toFixed(1)} MB`)}`);
  expect(packages).toContain("hono");
  expect(packages.filter((name) => /onnxruntime|sharp|^@img\//.test(name))).toEqual([]);
  expect(filesOf("gateway").filter((path) => /\.(node|so)\b/.test(path))).toEqual([]);
  expect(bytes).toBeLessThan(8e6);
});

describe.each(roleNames)("the image of the %s", (role) => {
  test("holds native code for this platform only, no package manager and no file of the repository's", () => {
    const native = filesOf(role).filter((path) => /\.(node|dll|dylib|so)(\.|$)/.test(path));
    if (role === "encoder" || role === "decoder") expect(native.length).toBeGreaterThan(2);
    const others = native.filter((path) => !path.includes(process.arch) || /cuda|tensorrt|DirectML/i.test(path));
    expect(others).toEqual([]);
    expect(filesOf(role).filter((path) => /\.ts$|(^|\/)(pnpm|npm|corepack)(\/|$)/.test(path))).toEqual([]);
  });

  test("says what is in it, with a licence text for everything", () => {
    const bom = JSON.parse(readFileSync(join(folderOf(role), "bom.json"), "utf8")) as {
      components: { group?: string; name: string; version: string; licenses: unknown[] }[];
    };
    const names = bom.components.map(({ group, name }) => (group ? `${group}/${name}` : name)).sort();
    expect(names).toEqual([...images[role].packages].sort());
    for (const { group, name, version, licenses } of bom.components) {
      expect(licenses.length, name).toBeGreaterThan(0);
      const folder = join(folderOf(role), "licenses", `${group ? `${group}+` : ""}${name}@${version}`);
      expect(readdirSync(folder).length, name).toBeGreaterThan(0);
    }
    expect(existsSync(join(folderOf(role), "LICENSE"))).toBe(true);
  });
});

test("the same contents are put together twice", async () => {
  const again = join(work, "again");
  await assemble("gateway", again);
  expect(readdirSync(again, { recursive: true }).sort()).toEqual(filesOf("gateway").sort());
  for (const file of ["main.js", "bom.json"])
    expect(readFileSync(join(again, file)).equals(readFileSync(join(folderOf("gateway"), file)))).toBe(true);
});

test("a gateway, an encoder and a decoder answer together by Node alone, pass their health checks and end in order", async () => {
  await using encoder = await start("encoder");
  await using decoder = await start("decoder");
  await using gateway = await start("gateway", {
    PORT: "0",
    FLORENCE_ENCODER: encoder.address,
    FLORENCE_DECODER: decoder.address,
  });
  const url = `http://${gateway.address}`;
  expect(await healthcheck("gateway", `${url}/healthz`)).toBe(0);
  expect(await healthcheck("encoder", encoder.address, "florence.v1.Encoder")).toBe(0);
  expect(await healthcheck("decoder", decoder.address, "florence.v1.Decoder")).toBe(0);
  const answer = await annotateRaw(url, fixture("drawn/scene-900000.png"), "task=object_detection");
  expect(answer.status).toBe(200);
  expect(answer.results[0]?.answer).toHaveProperty(["<OD>", "bboxes", 0]);
  for (const child of [gateway, decoder, encoder]) expect(await child.stop()).toBe(0);
  expect(await healthcheck("gateway", `${url}/healthz`)).toBe(1);
  expect(await healthcheck("encoder", encoder.address, "florence.v1.Encoder")).toBe(1);
});

test("the model's image installs a model only if it is the one expected and whole", async () => {
  const { folder } = await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder: join(work, "cache") });
  const target = join(work, "volume");
  const digest = createHash("sha256")
    .update(readFileSync(join(folder, "florence.json")))
    .digest("hex");
  const install = (from: string, expected: string) =>
    promisify(execFile)(process.execPath, [join(folderOf("model"), "main.js"), from, target, expected], { env: {} });

  await expect(install(folder, "0".repeat(64))).rejects.toThrow(digest);
  expect(existsSync(target)).toBe(false);

  const damaged = join(work, "damaged");
  cpSync(folder, damaged, { recursive: true });
  const victim = join(
    damaged,
    Object.keys(JSON.parse(readFileSync(join(folder, "florence.json"), "utf8")).files)[0] ?? "",
  );
  writeFileSync(victim, Buffer.concat([readFileSync(victim), Buffer.of(0)]));
  await expect(install(damaged, digest)).rejects.toThrow("is not what florence.json says");
  expect(existsSync(join(target, "florence.json"))).toBe(false);

  expect((await install(folder, digest)).stdout).toContain("installed");
  expect((await install(folder, "")).stdout).toContain("is there already");
  expect(readdirSync(target).sort()).toEqual(readdirSync(folder).sort());
});

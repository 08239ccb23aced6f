import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const proto = fileURLToPath(new URL("../proto", import.meta.url));

/** Runs buf on the contracts, with the generator of our own packages on its PATH. */
function buf(...args: string[]): string {
  const bin = join(proto, "node_modules", ".bin");
  const env = { ...process.env, PATH: [bin, process.env.PATH].join(delimiter) };
  return execFileSync(join(bin, "buf"), args, { cwd: proto, env, encoding: "utf8" });
}

/** The files below a folder, as path -> text. */
function contents(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
  return Object.fromEntries(paths.sort().map((path) => [path, readFileSync(join(folder, path), "utf8")]));
}

test("the generated code is what the contracts generate", () => {
  const out = mkdtempSync(join(tmpdir(), "florence-proto-"));
  onTestFinished(() => rmSync(out, { recursive: true }));
  buf("generate", "--output", out);
  const generated = contents(join(out, "gen"));
  expect(Object.keys(generated).length).toBeGreaterThan(0);
  expect(contents(join(proto, "gen"))).toEqual(generated);
});

test("the contracts keep buf's rules", () => {
  expect(buf("lint")).toBe("");
});

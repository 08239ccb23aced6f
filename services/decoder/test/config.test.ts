import { readFileSync } from "node:fs";
import { settingsTable } from "@florence/service";
import { expect, test } from "vitest";
import { decoderSpecs } from "../src/config.ts";

test("the README's table is every variable that a decoder's process reads", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  expect(readme).toContain(settingsTable(...Object.values(decoderSpecs)));
});

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { writtenDocs } from "./support/written-docs.ts";

test.each(writtenDocs)("$path says what the code says", ({ path, file, wanted }) => {
  const text = readFileSync(file, "utf8");
  if (path.endsWith(".md")) expect(text).toMatch(/^\| .+ \|$/m);
  expect(text, "run npm run docs").toBe(wanted());
});

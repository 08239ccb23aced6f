import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { errorsDoc, errorsDocFile } from "./support/errors-doc.ts";

test("docs/errors.md says what the fault table says", () => {
  expect(readFileSync(errorsDocFile, "utf8"), "run node test/support/errors-doc.ts").toBe(errorsDoc());
});

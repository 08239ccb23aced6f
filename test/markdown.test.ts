import { integer, text } from "@florence/service";
import { expect, test } from "vitest";
import { settingsTable } from "./support/markdown.ts";

const spec = {
  port: integer({ variable: "PORT", default: 8080, min: 0, max: 65535, help: "Where to listen." }),
};

test("specs make one Markdown table with aligned columns", () => {
  const other = { host: text({ default: "::", help: "Where." }) };
  expect(settingsTable({ port: spec.port }, other).split("\n")).toEqual([
    "| variable        | default | meaning          |",
    "| --------------- | ------- | ---------------- |",
    "| `PORT`          | 8080    | Where to listen. |",
    "| `FLORENCE_HOST` | ::      | Where.           |",
  ]);
});

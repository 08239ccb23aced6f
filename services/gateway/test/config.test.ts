import { readFileSync } from "node:fs";
import { describeConfig, readConfig } from "@florence/service";
import { expect, test } from "vitest";
import { gatewayConfig } from "../src/config.ts";
import { defaultLimits } from "../src/limits.ts";

test("an empty environment gives the documented defaults and every default limit", () => {
  expect(readConfig({}, gatewayConfig)).toMatchObject({
    port: 8080,
    host: "127.0.0.1",
    idSecret: undefined,
    ...defaultLimits,
  });
});

test("the README's table names every variable with its default", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const cells = (line: string) => line.split(" | ").map((cell) => cell.replace(/^\| |\|$/g, "").trim());
  const table = readme.split("\n").filter((line) => /^\| `[A-Z_]+`/.test(line));
  const rows = describeConfig(gatewayConfig).map((row) => [`\`${row.variable}\``, row.default, row.help]);
  expect(table.map(cells)).toEqual(rows);
});

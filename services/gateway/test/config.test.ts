import { readFileSync } from "node:fs";
import { readConfig } from "@florence/service";
import { expect, test } from "vitest";
import { gatewayConfig } from "../src/config.ts";
import { defaultLimits } from "../src/limits.ts";
import { retryPolicies } from "../src/peers/retry.ts";

test("an empty environment gives the documented defaults and every default limit", () => {
  expect(readConfig({}, gatewayConfig)).toMatchObject({
    port: 8080,
    host: "127.0.0.1",
    idSecret: undefined,
    ...defaultLimits,
  });
});

test("the README's table of second tries is the one that is obeyed", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  for (const [name, { atOnceMax, pausesMs }] of Object.entries(retryPolicies)) {
    const row = readme.split("\n").find((line) => line.toLowerCase().includes(`| ${name} `));
    const numbers = [...(row ?? "").matchAll(/\d+/g)].map(Number);
    const pauses = numbers.slice(2, -1);
    expect(numbers.slice(0, 2)).toEqual([atOnceMax, pausesMs.length]);
    expect(new Set(pauses)).toEqual(new Set(pausesMs));
    expect(numbers.at(-1)).toBe(1 + atOnceMax + pausesMs.length);
  }
});

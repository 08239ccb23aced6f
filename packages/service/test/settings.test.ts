import { inspect } from "node:util";
import { expect, expectTypeOf, test } from "vitest";
import { ConfigError, describeConfig, flag, integer, oneOf, readConfig, Secret, secret, text } from "../src/index.ts";

const spec = {
  port: integer({ variable: "PORT", default: 8080, min: 0, max: 65535, help: "Where to listen." }),
  imageBytesMax: integer({ default: 16, min: 1, max: 64, help: "Largest upload." }),
  drain: flag({ default: true, help: "Whether to drain." }),
  role: oneOf(["all", "encoder"], { default: "all", help: "What to run." }),
  model: text({ help: "The checkpoint folder." }),
  tenant: text({ default: undefined, help: "A tenant." }),
  apiKey: secret({ help: "The key of callers." }),
};

function strict(env: Record<string, string>) {
  return readConfig(env, spec, {
    onUnknown: (variable) => {
      throw new Error(`unknown ${variable}`);
    },
  });
}

test("defaults fill what is absent or empty, and the result is typed and frozen", () => {
  const config = strict({ FLORENCE_MODEL: "models/x", PORT: "" });
  expect(config).toEqual({
    port: 8080,
    imageBytesMax: 16,
    drain: true,
    role: "all",
    model: "models/x",
    tenant: undefined,
    apiKey: undefined,
  });
  expect(Object.isFrozen(config)).toBe(true);
  expectTypeOf(config.port).toEqualTypeOf<number>();
  expectTypeOf(config.role).toEqualTypeOf<"all" | "encoder">();
  expectTypeOf(config.tenant).toEqualTypeOf<string | undefined>();
  expectTypeOf(config.apiKey).toEqualTypeOf<Secret | undefined>();
});

test("every kind of field is read from its variable", () => {
  const config = strict({
    PORT: "0",
    FLORENCE_IMAGE_BYTES_MAX: "64",
    FLORENCE_DRAIN: "0",
    FLORENCE_ROLE: "encoder",
    FLORENCE_MODEL: "m",
    FLORENCE_API_KEY: "hunter2",
  });
  expect(config).toMatchObject({ port: 0, imageBytesMax: 64, drain: false, role: "encoder" });
  expect(config.apiKey?.reveal()).toBe("hunter2");
});

test("all unusable variables are reported at once, by name and reason", () => {
  const env = {
    PORT: "70000",
    FLORENCE_IMAGE_BYTES_MAX: "1.5",
    FLORENCE_DRAIN: "yes",
    FLORENCE_ROLE: "decoder",
  };
  try {
    strict(env);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    const { problems } = error as ConfigError;
    expect(problems).toHaveLength(5);
    for (const variable of [...Object.keys(env), "FLORENCE_MODEL"]) {
      expect(problems.filter((problem) => problem.startsWith(variable))).toHaveLength(1);
    }
  }
});

test("unknown FLORENCE_ variables are reported unless another spec of the process declares them", () => {
  const unknown: string[] = [];
  const env = { FLORENCE_MODEL: "m", FLORENCE_MODLE: "x", FLORENCE_OTHER: "y", HOME: "/" };
  readConfig(env, spec, {
    alsoKnown: [{ other: text({ default: undefined, help: "Another program's." }) }],
    onUnknown: (variable) => unknown.push(variable),
  });
  expect(unknown).toEqual(["FLORENCE_MODLE"]);
});

test("a secret never shows, however it is printed", () => {
  const value = new Secret("hunter2");
  for (const shown of [`${value}`, JSON.stringify({ value }), inspect({ value }, { depth: 9, showHidden: true })]) {
    expect(shown).not.toContain("hunter2");
    expect(shown).toContain("[redacted]");
  }
});

test("a spec describes itself as rows", () => {
  const rows = describeConfig(spec);
  expect(rows.map(({ variable }) => variable)).toContain("FLORENCE_IMAGE_BYTES_MAX");
  expect(rows.find(({ variable }) => variable === "PORT")).toEqual({
    variable: "PORT",
    kind: "whole number 0..65535",
    default: "8080",
    help: "Where to listen.",
  });
  expect(rows.find(({ variable }) => variable === "FLORENCE_MODEL")?.default).toBe("required");
  expect(rows.find(({ variable }) => variable === "FLORENCE_API_KEY")?.default).toBe("unset");
});

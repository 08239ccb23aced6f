import { describe, expect, test } from "vitest";
import { parseModelName, requireModelName } from "../src/name.ts";

describe("a name on a hub", () => {
  test.each([
    ["owner/name", "owner/name", "main"],
    ["owner/Some-Model_2.1@v1.0", "owner/Some-Model_2.1", "v1.0"],
    ["owner/name@refs/pr/3", "owner/name", "refs/pr/3"],
    ["base", "florence-community/Florence-2-base", "main"],
    ["large-ft@abc123", "florence-community/Florence-2-large-ft", "abc123"],
  ])("is read from %s", (text, repository, revision) => {
    expect(parseModelName(text)).toEqual({ repository, revision });
  });

  test.each([
    "",
    "huge",
    "./owner/name",
    "/owner/name",
    "../name",
    "owner/..",
    "owner/name/more",
    "own--er/name",
    "owner\\name",
    "owner/name@",
    "owner/name@../../x",
    "owner/name@/x",
    "constructor",
  ])("is not read from %j, which might lead out of the cache", (text) => {
    expect(parseModelName(text)).toBeUndefined();
    expect(() => requireModelName(text)).toThrow(expect.objectContaining({ code: "hub_name_invalid" }));
  });
});

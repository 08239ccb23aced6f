import { expect, test } from "vitest";
import { countEvents, createEvents, event } from "../src/index.ts";

const kinds = {
  admitted: event<{ waitedMs: number }>("A call got its place."),
  refused: event<{ code: string }>("A call was turned away."),
};

test("an event reaches every listener that hears it, in order, with what was said of it", () => {
  const heard: unknown[] = [];
  const events = createEvents(kinds, [
    { admitted: ({ waitedMs }) => heard.push(["first", waitedMs]) },
    {
      admitted: ({ waitedMs }) => heard.push(["second", waitedMs]),
      refused: ({ code }) => heard.push(["second", code]),
    },
  ]);
  events.admitted({ waitedMs: 3 });
  events.refused({ code: "overloaded" });
  expect(heard).toEqual([
    ["first", 3],
    ["second", 3],
    ["second", "overloaded"],
  ]);
});

test("an event that nobody hears changes nothing", () => {
  expect(() => createEvents(kinds).admitted({ waitedMs: 1 })).not.toThrow();
});

test("a counter knows every kind of its list, also what never happened", () => {
  const { counts, listener } = countEvents(kinds);
  const events = createEvents(kinds, [listener]);
  events.admitted({ waitedMs: 1 });
  events.admitted({ waitedMs: 2 });
  expect(counts).toEqual({ admitted: 2, refused: 0 });
});

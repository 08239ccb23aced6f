import { inspect } from "node:util";
import { expect, test } from "vitest";
import { Fault, faultTable, isFaultCode, toFault } from "../src/index.ts";

test("a Fault stays itself", () => {
  const fault = new Fault("overloaded", "Full.");
  expect(toFault(fault)).toBe(fault);
});

test("another package's error with a code of the table keeps code and message", () => {
  const error = Object.assign(new Error("The region is inverted."), { code: "region_invalid" });
  expect(toFault(error)).toMatchObject({ code: "region_invalid", detail: "The region is inverted.", cause: error });
});

test("an unknown error is internal, and its text reaches only the message and the cause", () => {
  for (const thrown of [
    new Error("password=hunter2"),
    "password=hunter2",
    Object.assign(new Error("password=hunter2"), { code: "ENOENT" }),
    Object.assign(new Error("password=hunter2"), { code: "checkpoint_truncated" }),
    Object.assign(new Error("password=hunter2"), { code: "toString" }),
  ]) {
    const fault = toFault(thrown);
    expect(fault.code).toBe("internal");
    expect(fault.detail).not.toContain("hunter2");
    expect(fault.message).toContain("hunter2");
    expect(fault.cause).toBe(thrown);
  }
  expect(toFault(undefined).code).toBe("internal");
  expect(toFault(null).code).toBe("internal");
});

test("no code of a checkpoint reaches a caller, and every row says what to do", () => {
  const rows = Object.entries(faultTable);
  const ofCheckpoints = rows.filter(([, { where }]) => where === "checkpoint").map(([code]) => code);
  expect(ofCheckpoints).toContain("checkpoint_truncated");
  for (const code of ofCheckpoints) {
    expect(isFaultCode(code)).toBe(false);
    const fault = toFault(Object.assign(new Error("hunter2.safetensors is cut off"), { code }));
    expect(fault.code).toBe("internal");
    expect(fault.detail).not.toContain("hunter2");
  }
  for (const [code, { title, help }] of rows) {
    expect(title, code).toMatch(/[a-z0-9]$/);
    expect(help, code).toMatch(/^[A-Z].*\.$/s);
  }
});

test("aborts and timeouts are told apart", () => {
  expect(toFault(AbortSignal.abort().reason).code).toBe("cancelled");
  expect(toFault(new DOMException("late", "TimeoutError")).code).toBe("deadline_exceeded");
});

test("a detail is bounded and well formed, whatever text it quotes", () => {
  const fault = new Fault("task_unknown", `\ud800${"猫".repeat(5000)}`);
  expect(fault.detail.isWellFormed()).toBe(true);
  expect(encodeURI(fault.detail).length).toBeLessThan(16 * 1024);
});

test("a Fault prints its code and cause for logs", () => {
  const printed = inspect(new Fault("internal", "Something went wrong.", { cause: new Error("disk full") }));
  expect(printed).toContain("code: 'internal'");
  expect(printed).toContain("disk full");
});

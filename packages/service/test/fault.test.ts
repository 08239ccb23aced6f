import { inspect } from "node:util";
import { Metadata, status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { Fault, type FaultCode, faultTable, toFault } from "../src/index.ts";
import { toStatus } from "../src/to-fault.ts";

test("every code survives a gRPC status with its detail and retry hint", () => {
  for (const code of Object.keys(faultTable) as FaultCode[]) {
    const sent = new Fault(code, `About ${code}: 100 % ä 猫`, { internal: "host-7 said no", retryAfterS: 3 });
    const { code: number, details, metadata } = toStatus(sent);
    expect(number).toBe(faultTable[code].grpc);
    expect(details).not.toContain("host-7");
    const got = toFault(Object.assign(new Error("9 X: y"), { code: number, details, metadata }));
    expect(got).toMatchObject({ code, detail: sent.detail, retryAfterS: 3 });
  }
});

test("the table uses real gRPC statuses and HTTP errors only", () => {
  for (const { grpc, http, title } of Object.values(faultTable)) {
    expect(status[grpc]).toBeTypeOf("string");
    expect(grpc).toBeGreaterThan(0);
    expect(http).toBeGreaterThanOrEqual(400);
    expect(title.length).toBeGreaterThan(0);
  }
});

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

test("aborts and timeouts are told apart", () => {
  expect(toFault(AbortSignal.abort().reason).code).toBe("cancelled");
  expect(toFault(new DOMException("late", "TimeoutError")).code).toBe("deadline_exceeded");
});

test("a gRPC error without our code maps by its status and hides the other program's words", () => {
  const cases: Array<[status, FaultCode]> = [
    [status.CANCELLED, "cancelled"],
    [status.DEADLINE_EXCEEDED, "deadline_exceeded"],
    [status.UNAVAILABLE, "unavailable"],
    [status.RESOURCE_EXHAUSTED, "overloaded"],
    [status.NOT_FOUND, "not_found"],
    [status.DATA_LOSS, "internal"],
  ];
  for (const [code, expected] of cases) {
    const error = Object.assign(new Error("x"), { code, details: "connect to 10.0.0.7", metadata: new Metadata() });
    const fault = toFault(error);
    expect(fault.code).toBe(expected);
    expect(fault.detail).not.toContain("10.0.0.7");
  }
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

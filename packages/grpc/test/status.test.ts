import { Fault, type FaultCode, faultTable, isFaultCode } from "@florence/service";
import { Metadata, status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { fromStatus, toStatus } from "../src/status.ts";

const codes = Object.keys(faultTable).filter(isFaultCode);

test("every code survives a gRPC status with its detail and retry hint", () => {
  for (const code of codes) {
    const sent = new Fault(code, `About ${code}: 100 % ä 猫`, { internal: "host-7 said no", retryAfterS: 3 });
    const { code: number, details, metadata } = toStatus(sent);
    expect(number).toBe(faultTable[code].grpc);
    expect(details).not.toContain("host-7");
    const got = fromStatus(Object.assign(new Error("9 X: y"), { code: number, details, metadata }));
    expect(got).toMatchObject({ code, detail: sent.detail, retryAfterS: 3 });
  }
});

test("the table uses real gRPC statuses and HTTP errors only", () => {
  for (const { grpc, http } of codes.map((code) => faultTable[code])) {
    expect(status[grpc]).toBeTypeOf("string");
    expect(grpc).not.toBe(status.OK);
    expect(http >= 400 && http < 600).toBe(true);
  }
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
    const fault = fromStatus(error);
    expect(fault.code).toBe(expected);
    expect(fault.detail).not.toContain("10.0.0.7");
  }
});

import { expect, test } from "vitest";
import { createCallerOf } from "../src/node/caller-address.ts";

test("without a trusted proxy a caller is who connects, whatever the request says", () => {
  const callerOf = createCallerOf(undefined);
  expect(callerOf("203.0.113.9", "198.51.100.1")).toBe("203.0.113.9");
  expect(callerOf("::ffff:203.0.113.9", undefined)).toBe("203.0.113.9");
  expect(callerOf(undefined, "198.51.100.1")).toBe("");
});

test("a trusted hop says who it has its call from; what stands further left is believed only of a further trusted hop", () => {
  const callerOf = createCallerOf("10.0.0.0/8, 127.0.0.1, 2001:db8:1::/48");
  expect(callerOf("10.1.2.3", "198.51.100.1")).toBe("198.51.100.1");
  expect(callerOf("::ffff:127.0.0.1", "192.0.2.1, 198.51.100.1")).toBe("198.51.100.1");
  expect(callerOf("10.1.2.3", "192.0.2.1, 198.51.100.1, 10.9.9.9")).toBe("198.51.100.1");
  expect(callerOf("2001:db8:1::7", "198.51.100.1:4711")).toBe("198.51.100.1");
  expect(callerOf("10.1.2.3", "[2001:db8:2::7]:4711")).toBe("2001:db8:2:0::/64");
  expect(callerOf("10.1.2.3", "198.51.100.1, nonsense")).toBe("10.1.2.3");
  expect(callerOf("10.1.2.3", "")).toBe("10.1.2.3");
  expect(callerOf("198.51.100.9", "192.0.2.1")).toBe("198.51.100.9");
});

test("an IPv6 caller is its /64, however it is written", () => {
  const callerOf = createCallerOf(undefined);
  const same = ["2001:db8:1:2::1", "2001:0db8:1:2:0:0:0:9", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::1%eth0"];
  expect(new Set(same.map((address) => callerOf(address, undefined)))).toEqual(new Set(["2001:db8:1:2::/64"]));
  expect(callerOf("2001:db8:1:3::1", undefined)).toBe("2001:db8:1:3::/64");
  expect(callerOf("::1", undefined)).toBe("0:0:0:0::/64");
});

test("a list that is none is refused where the gateway starts", () => {
  for (const list of ["proxy", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.0/x", "::/129"])
    expect(() => createCallerOf(list), list).toThrow(/FLORENCE_TRUSTED_PROXIES/);
});

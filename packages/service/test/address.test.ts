import { expect, test } from "vitest";
import { addressFamily, formatAddress, parseAddress, parseAddresses } from "../src/index.ts";

test("host:port is read in every form and written back as it was", () => {
  for (const [text, host, family] of [
    ["encoder-0.encoder:50051", "encoder-0.encoder", 0],
    ["10.0.0.7:1", "10.0.0.7", 4],
    ["[fd00::7]:65535", "fd00::7", 6],
    ["1.2.3:80", "1.2.3", 0],
    ["256.0.0.1:80", "256.0.0.1", 0],
  ] as const) {
    const address = parseAddress(text);
    expect(address?.host).toBe(host);
    expect(addressFamily(host)).toBe(family);
    expect(formatAddress(host, address?.port as number)).toBe(text);
  }
});

test("what is not host:port is no address", () => {
  for (const text of [
    "",
    "encoder",
    ":1",
    "http://a:1",
    "fd00::7:1",
    "[fd00::7]",
    "a:65536",
    "a:x",
    "a b:1",
    "a,b:1",
  ]) {
    expect(parseAddress(text), text).toBeUndefined();
  }
});

test("a list names the entry that is wrong", () => {
  expect(parseAddresses(" a:1, [::1]:2 ,")).toEqual([
    { host: "a", port: 1 },
    { host: "::1", port: 2 },
  ]);
  expect(() => parseAddresses("a:1,b")).toThrow('"b" is not of the form host:port');
  expect(() => parseAddresses(" , ")).toThrow("at least one");
});

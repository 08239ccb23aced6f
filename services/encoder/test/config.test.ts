import type { RunningServer } from "@florence/grpc";
import { ConfigError, readConfig } from "@florence/service";
import { expect, test } from "vitest";
import { advertisedAddress } from "../src/advertised-address.ts";
import { encoderConfig } from "../src/config.ts";

test("an advertised address must be host:port", () => {
  for (const FLORENCE_ADVERTISE of ["encoder-0.encoder:50051", "10.0.0.7:50051", "[fd00::7]:50051"]) {
    expect(readConfig({ FLORENCE_ADVERTISE }, encoderConfig).advertise).toBe(FLORENCE_ADVERTISE);
  }
  for (const FLORENCE_ADVERTISE of ["encoder", "http://encoder:50051", "fd00::7", ":1"]) {
    expect(() => readConfig({ FLORENCE_ADVERTISE }, encoderConfig)).toThrow(ConfigError);
  }
});

test("others reach it where it was advertised, else what others can reach", () => {
  const server = { address: "127.0.0.1:50051", port: 50051 } as RunningServer;
  expect(advertisedAddress(server, { host: "127.0.0.1", advertise: "me:1" })).toBe("me:1");
  expect(advertisedAddress(server, { host: "127.0.0.1", advertise: undefined })).toBe("127.0.0.1:50051");
  const everywhere = advertisedAddress(server, { host: "0.0.0.0", advertise: undefined });
  expect(everywhere).toMatch(/^\d+\.\d+\.\d+\.\d+:50051$/);
  expect(everywhere).not.toMatch(/^0\./);
});

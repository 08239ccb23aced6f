import { readFileSync } from "node:fs";
import type { Manifest } from "@florence/model";
import { ConfigError, describeConfig, type RunningServer } from "@florence/service";
import { expect, test } from "vitest";
import { batchSize } from "../src/batch-size.ts";
import { encoderConfig, readEncoderConfig } from "../src/config.ts";
import { holderAddress } from "../src/holder.ts";
import { preprocessVersion } from "../src/preprocess-version.ts";

test("the README's table names every variable with its default", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const cells = (line: string) => line.split(" | ").map((cell) => cell.replace(/^\| |\|$/g, "").trim());
  const table = readme.split("\n").filter((line) => /^\| `[A-Z_]+`/.test(line));
  const rows = describeConfig(encoderConfig).map((row) => [`\`${row.variable}\``, row.default, row.help]);
  expect(table.map(cells)).toEqual(rows);
});

test("an advertised address must be host:port", () => {
  for (const FLORENCE_ADVERTISE of ["encoder-0.encoder:50051", "10.0.0.7:50051", "[fd00::7]:50051"]) {
    expect(readEncoderConfig({ FLORENCE_ADVERTISE }).advertise).toBe(FLORENCE_ADVERTISE);
  }
  for (const FLORENCE_ADVERTISE of ["encoder", "http://encoder:50051", "fd00::7", ":1"]) {
    expect(() => readEncoderConfig({ FLORENCE_ADVERTISE })).toThrow(ConfigError);
  }
});

test("the holder is what was advertised, else what others can reach", () => {
  const server = { address: "127.0.0.1:50051", port: 50051 } as RunningServer;
  expect(holderAddress(server, { host: "127.0.0.1", advertise: "me:1" })).toBe("me:1");
  expect(holderAddress(server, { host: "127.0.0.1", advertise: undefined })).toBe("127.0.0.1:50051");
  const everywhere = holderAddress(server, { host: "0.0.0.0", advertise: undefined });
  expect(everywhere).toMatch(/^\d+\.\d+\.\d+\.\d+:50051$/);
  expect(everywhere).not.toMatch(/^0\./);
});

const manifest = (precision: string, size = 768) =>
  ({
    precision,
    config: { preprocess: { size, mean: [0.5] }, vision: { channels: [128, 256] }, maps: [192, 96] },
  }) as unknown as Manifest;

test("a batch is bounded by pictures and by bytes, and by one where neighbours would change the numbers", () => {
  const bytesOfOne = 192 * 192 * 128 * 4 * 25;
  expect(batchSize(manifest("fp32"), { batchMax: 4, batchBytesMax: 100 * bytesOfOne })).toBe(4);
  expect(batchSize(manifest("fp32"), { batchMax: 4, batchBytesMax: 3 * bytesOfOne })).toBe(3);
  expect(batchSize(manifest("fp32"), { batchMax: 4, batchBytesMax: 1 })).toBe(1);
  expect(batchSize(manifest("int8"), { batchMax: 4, batchBytesMax: 100 * bytesOfOne })).toBe(1);
});

test("whatever changes an embedding beside weights and pixels changes the version in its key", () => {
  const versions = [manifest("fp32"), manifest("int8"), manifest("fp32", 512)].map(preprocessVersion);
  expect(new Set(versions).size).toBe(3);
  for (const version of versions) expect(version).toMatch(/^p1-[A-Za-z0-9_-]{1,29}$/);
});

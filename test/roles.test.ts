// Each service runs alone, from the command line and from its own main, and loads what it needs and no more.

import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClient } from "@florence/grpc";
import { Health, HealthCheckResponse_ServingStatus as Status } from "@florence/proto/health";
import { afterAll, describe, expect, test } from "vitest";
import { nativeModules, showsMaps, startChild } from "./support/child.ts";
import { report } from "./support/cluster.ts";
import { root } from "./support/services.ts";

const cache = mkdtempSync(join(tmpdir(), "florence-roles-"));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

const env = { FLORENCE_CACHE: cache, FLORENCE_LOG_LEVEL: "error", FLORENCE_DRAIN_MS: "2000" };
const cli = "apps/cli/src/main.ts";
const gatewayMain = "services/gateway/src/main.ts";
if (!showsMaps) process.stderr.write("Not run: which native modules a process maps. This system has no /proc.\n");

async function isServing(address: string, service: string): Promise<boolean> {
  using client = createClient(Health, address);
  return (await client.check({ service })).status === Status.SERVING;
}

describe.runIf(showsMaps)("a gateway's process maps no native module", () => {
  test.each([
    [cli, ["serve", "--role", "gateway", "--port", "0"]],
    ...(existsSync(join(root, gatewayMain)) ? [[gatewayMain, []] as [string, string[]]] : []),
  ] as [string, string[]][])("started by %s %j", async (program, args) => {
    await using gateway = await startChild(program, args, { ...env, PORT: "0" });
    expect((await fetch(`http://${gateway.address}/healthz`)).status).toBe(200);
    expect(nativeModules(gateway.pid)).toEqual([]);
    expect(await gateway.stop()).toBe(0);
  });

  test("and the look at a process sees them where they are", async () => {
    await using encoder = await startChild("services/encoder/src/main.ts", [], env);
    const modules = nativeModules(encoder.pid);
    report(`an encoder's process maps ${modules.join(", ")}`);
    expect(modules).toEqual(
      expect.arrayContaining([expect.stringMatching(/onnxruntime/), expect.stringMatching(/vips/)]),
    );
  });
});

test.each([["--help"], ["--version"], ["serve", "--help"], ["dev", "--help"]])(
  "florence %s %s loads no native module",
  async (...args) => {
    // What the process has loaded, asked of itself as it ends.
    const tell = "process.on('exit', () => console.error(JSON.stringify(process.report.getReport().sharedObjects)))";
    const flags = ["--import", `data:text/javascript,${encodeURIComponent(tell)}`, join(root, cli), ...args];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, flags, { env });
    expect(stdout).toMatch(/Usage: florence|^\d+\.\d+\.\d+/);
    const loaded: string[] = JSON.parse(stderr);
    expect(loaded.length).toBeGreaterThan(0);
    expect(loaded.filter((path) => /node_modules|\.node$/.test(path))).toEqual([]);
  },
);

describe.each(["encoder", "decoder"])("the %s", (role) => {
  const name = `florence.v1.${role === "encoder" ? "Encoder" : "Decoder"}`;

  test("started by its own main says where it listens, is healthy, and ends with 0 on SIGTERM", async () => {
    await using service = await startChild(`services/${role}/src/main.ts`, [], env);
    expect(await isServing(service.address, name)).toBe(true);
    expect(await service.stop()).toBe(0);
  });

  test("started by its own main with settings that cannot work ends with 1 and says why", async () => {
    const started = startChild(`services/${role}/src/main.ts`, [], { ...env, FLORENCE_MODEL: "nowhere" });
    await expect(started).rejects.toThrow(new RegExp(`ended with 1: florence ${role}: .*nowhere`));
    const misspelt = startChild(`services/${role}/src/main.ts`, [], { ...env, FLORENCE_PRECISION: "fp8" });
    await expect(misspelt).rejects.toThrow(/FLORENCE_PRECISION="fp8"/);
  });
});

import { Health as HealthService, HealthCheckResponse_ServingStatus as Status } from "@florence/proto/health";
import { expect, test } from "vitest";
import { createClient, Health, startServer } from "../src/index.ts";

async function serve() {
  const health = new Health();
  const server = await startServer({ host: "127.0.0.1", port: 0, services: [health.implementation], drainMs: 500 });
  return { health, server, client: createClient(HealthService, server.address) };
}

test("check tells what was set, and not_found for an unknown service", async () => {
  const { health, server, client } = await serve();
  await using _server = server;
  using _client = client;
  expect((await client.check({})).status).toBe(Status.NOT_SERVING);
  health.set("", true);
  health.set("florence.v1.Encoder", false);
  expect((await client.check({})).status).toBe(Status.SERVING);
  expect((await client.check({ service: "florence.v1.Encoder" })).status).toBe(Status.NOT_SERVING);
  await expect(client.check({ service: "nothing" })).rejects.toMatchObject({ code: "not_found" });
});

test("watch tells every change, also of a service that appears later, until the watcher leaves", async () => {
  const { health, server, client } = await serve();
  await using _server = server;
  using _client = client;
  const seen: number[] = [];
  for await (const { status } of client.watch({ service: "late" }, { deadlineMs: Number.POSITIVE_INFINITY })) {
    seen.push(status);
    if (seen.length === 1) health.set("late", false);
    if (seen.length === 2) {
      health.set("late", false); // No change, no message.
      health.set("late", true);
    }
    if (seen.length === 3) break;
  }
  expect(seen).toEqual([Status.SERVICE_UNKNOWN, Status.NOT_SERVING, Status.SERVING]);
});

test("disposing ends watches after their last news, so the server drains by itself", async () => {
  const { health, server, client } = await serve();
  await using _server = server;
  using _client = client;
  health.set("", true);
  const seen: number[] = [];
  for await (const { status } of client.watch({}, { deadlineMs: Number.POSITIVE_INFINITY })) {
    seen.push(status);
    if (status === Status.SERVING) {
      health.set("", false);
      health[Symbol.dispose]();
    }
  }
  expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING]);
});

import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { readHubSettings } from "../src/config.ts";
import { HubConnection } from "../src/connection.ts";
import { Transient } from "../src/error.ts";

test.each([
  ["hub", "http", {}],
  ["proxy of http", "http", { HTTP_PROXY: "silent" }],
  ["proxy of https", "https", { HTTPS_PROXY: "silent" }],
])("a %s that takes the connection and says nothing is given up", async (_, scheme, proxies) => {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  await using _closed = { [Symbol.asyncDispose]: async () => void server.close() };
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const env = Object.fromEntries(Object.keys(proxies).map((name) => [name, `http://${address}`]));
  const settings = readHubSettings({ ...env, HF_ENDPOINT: `${scheme}://${address}`, HF_HUB_DOWNLOAD_TIMEOUT: "0.2" });
  using hub = new HubConnection(settings);
  await expect(hub.head("/x")).rejects.toBeInstanceOf(Transient);
  await expect(hub.open("/x")).rejects.toBeInstanceOf(Transient);
});

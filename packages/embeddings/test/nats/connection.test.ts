import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { createEvents } from "@florence/service";
import { expect, test } from "vitest";
import { embeddingEvents } from "../../src/index.ts";
import { connectNats, NatsConfigError, type NatsOptions } from "../../src/nats/index.ts";
import { newOperator } from "./creds.ts";
import { embedding, newKey, openStore } from "./running.ts";

async function putAndGet(url: string, connection: Partial<NatsOptions>): Promise<void> {
  await using store = await openStore({ url }, { connection });
  const key = newKey();
  await store.put(key, embedding(1));
  await until(() => store.counts.valueWritten === 1);
  expect(await store.get(key)).toEqual(embedding(1));
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), "florence-connection-"));
  return {
    file: (name: string) => join(path, name),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

describeWithNats("a connection to NATS", () => {
  test("user and password come from the options or the address; wrong ones are a clear error", async () => {
    await using server = await startServer({ auth: { user: "florence", password: "a/b c" } });
    await putAndGet(server.url, { user: "florence", password: "a/b c" });
    await putAndGet(server.url.replace("//", "//florence:a%2Fb%20c@"), {});
    const refused = connectNats({ servers: server.url, user: "florence", password: "wrong" });
    await expect(refused).rejects.toThrow(NatsConfigError);
    await expect(refused).rejects.toThrow(/credentials/);
    await expect(connectNats({ servers: server.url })).rejects.toThrow(/credentials/);
  });

  test("a token comes from the options or the address", async () => {
    await using server = await startServer({ auth: { token: "secret-token" } });
    await putAndGet(server.url, { token: "secret-token" });
    await putAndGet(server.url.replace("//", "//secret-token@"), {});
    await expect(connectNats({ servers: server.url, token: "other" })).rejects.toThrow(NatsConfigError);
  });

  test("a creds file is enough, and one of another operator is refused", async () => {
    const operator = newOperator();
    await using server = await startServer({ config: operator.config });
    await using folder = await temporaryFolder();
    await writeFile(folder.file("user.creds"), operator.creds);
    await writeFile(folder.file("stranger.creds"), newOperator().creds);
    await putAndGet(server.url, { credsFile: folder.file("user.creds") });
    const stranger = connectNats({ servers: server.url, credsFile: folder.file("stranger.creds") });
    await expect(stranger).rejects.toThrow(/credentials/);
  });

  test("the connection comes and goes with the server, and says so", async () => {
    await using server = await startServer();
    const statuses: object[] = [];
    const hear = (about: object) => void statuses.push(about);
    const events = createEvents(embeddingEvents, [{ natsConnected: hear, natsDisconnected: hear }]);
    await using link = await connectNats({ servers: server.url, events });
    const connected = { server: expect.stringContaining("127.0.0.1"), version: expect.stringMatching(/^2\./) };
    expect(statuses).toEqual([connected]);
    await server.kill();
    await until(() => link.connection === undefined);
    await server.restart({ keepData: true });
    await until(() => link.connection !== undefined);
    expect(statuses).toEqual([connected, { reason: "disconnected" }, connected]);
  });

  test("several servers may be named, of which one is there", async () => {
    await using gone = await startServer();
    await using server = await startServer();
    await gone.kill();
    await using link = await connectNats({ servers: [gone.url, server.url] });
    await until(() => link.connection !== undefined);
  });
});

const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "pipe" });
const hasOpenssl = (() => {
  try {
    return openssl("version").length > 0;
  } catch {
    process.stderr.write("Not run: NATS over TLS. There is no openssl to make certificates with.\n");
    return false;
  }
})();

describeWithNats("a connection to NATS over TLS", () => {
  test.runIf(hasOpenssl)("verifies the server, and shows the client's certificate where one is wanted", async () => {
    await using folder = await temporaryFolder();
    const { file } = folder;
    const newKeyArgs = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
      "req",
      "-x509",
      ...newKeyArgs,
      "-keyout",
      file("ca.key"),
      "-out",
      file("ca.pem"),
      "-days",
      "1",
      "-subj",
      "/CN=ca",
    );
    await writeFile(file("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    for (const name of ["server", "client"]) {
      openssl(
        "req",
        ...newKeyArgs,
        "-keyout",
        file(`${name}.key`),
        "-out",
        file(`${name}.csr`),
        "-subj",
        `/CN=${name}`,
      );
      const authority = ["-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "1"];
      openssl(
        "x509",
        "-req",
        "-in",
        file(`${name}.csr`),
        ...authority,
        "-extfile",
        file("names"),
        "-out",
        file(`${name}.pem`),
      );
    }
    const serverFiles = { certFile: file("server.pem"), keyFile: file("server.key") };
    const caFile = file("ca.pem");
    {
      await using server = await startServer({ tls: serverFiles, auth: { token: "t" } });
      await putAndGet(server.url, { tls: { caFile }, token: "t" });
      await using stranger = await connectNats({ servers: server.url, token: "t" });
      expect(stranger.connection).toBeUndefined();
      expect((await stranger.firstAttempt)?.message).toMatch(/certificate/);
    }
    await using server = await startServer({ tls: { ...serverFiles, caFile } });
    await putAndGet(server.url, { tls: { caFile, certFile: file("client.pem"), keyFile: file("client.key") } });
    await using anonymous = await connectNats({ servers: server.url, tls: { caFile } });
    expect(anonymous.connection).toBeUndefined();
  });
});

test("settings that cannot work are refused at once, and an address is not repeated with its password", async () => {
  for (const servers of ["", "http://localhost", "nats://", []]) {
    await expect(connectNats({ servers })).rejects.toThrow(NatsConfigError);
  }
  await expect(connectNats({ servers: "amqp://user:secret@host" })).rejects.toThrow(/^(?!.*secret)/);
  const credsFile = "nowhere/user.creds";
  await expect(connectNats({ servers: "localhost", credsFile })).rejects.toThrow(/nowhere\/user\.creds/);
  await expect(connectNats({ servers: "localhost", tls: { caFile: credsFile } })).rejects.toThrow(NatsConfigError);
});

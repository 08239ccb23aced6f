import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { Health as HealthService, HealthCheckResponse_ServingStatus as Status } from "@florence/proto/health";
import { ConfigError, createEvents, Fault, type Logger, readConfig, Secret } from "@florence/service";
import { afterEach, expect, test } from "vitest";
import { CallProofs, proofMetadata, proofMsMax } from "../src/call-proof.ts";
import {
  type Credentials,
  callEvents,
  createClient,
  Health,
  implement,
  logCalls,
  noCredentials,
  openCredentials,
  startServer,
} from "../src/index.ts";
import { clusterConfig } from "../src/settings.ts";
import { TlsFiles } from "../src/tls-files.ts";

const pem = (name: string) => fileURLToPath(new URL(`../../../test/fixtures/tls/${name}`, import.meta.url));
const path = "/florence.v1.Encoder/Encode";
const secret = new Secret("a secret that all of the cluster share");
const proofs = new CallProofs(secret);

const open: Array<AsyncDisposable | Disposable> = [];
afterEach(async () => {
  for (const resource of open.splice(0).reverse()) {
    if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
    else resource[Symbol.dispose]();
  }
});

/** An encoder that counts what reaches it, with its health. */
async function serve(credentials: Credentials, host = "127.0.0.1") {
  const reached: string[] = [];
  const said: string[] = [];
  const reach = async (name: string) => {
    reached.push(name);
    return {};
  };
  const handlers = {
    encode: () => reach("encode"),
    getEmbedding: () => reach("getEmbedding"),
    getEncoderModel: () => reach("getEncoderModel"),
  };
  const health = new Health();
  health.set("", true);
  const events = createEvents(callEvents, [
    {
      serverExposed: () => void said.push("exposed"),
      callRefused: ({ method, fault }) => void said.push(`${method}: ${fault.message}`),
    },
  ]);
  const services = [implement(Encoder, handlers), health.implementation];
  const server = await startServer({ host, port: 0, services, drainMs: 200, credentials, events });
  open.push(server, health);
  return { server, reached, said };
}

function client(address: string, credentials: Credentials) {
  const made = createClient(Encoder, address, { credentials, deadlineMsDefault: 5_000 });
  open.push(made);
  return made;
}

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => "answered",
    (error: { code: string }) => error.code,
  );

test("a call without a proof, or with another secret's, an old or another method's, is refused and reaches no handler", async () => {
  const { server, reached, said } = await serve({ proofs });
  const old = new CallProofs(secret, () => Date.now() - proofMsMax - 1_000);
  const early = new CallProofs(secret, () => Date.now() + proofMsMax + 1_000);
  const others = [undefined, new CallProofs(new Secret("the secret of another cluster")), old, early];
  for (const other of others) {
    const foreign = client(server.address, other ? { proofs: other } : noCredentials);
    for (const call of [
      () => foreign.encode({ image: new Uint8Array(100_000) }),
      () => foreign.getEmbedding({}),
      () => foreign.getEncoderModel({}),
    ])
      expect(await codeOf(call())).toBe("unauthorized");
  }
  const stolen = { metadata: { [proofMetadata.call]: proofs.make("/florence.v1.Encoder/GetEncoderModel") } };
  expect(await codeOf(client(server.address, noCredentials).getEmbedding({}, stolen))).toBe("unauthorized");
  expect(reached).toEqual([]);
  expect(said).toHaveLength(4 * 3 + 1);
  expect(said[0]).toBe("florence.v1.Encoder.Encode: The call's proof is missing.");
  const ours = client(server.address, { proofs: new CallProofs(secret) });
  expect(await codeOf(ours.encode({ image: new Uint8Array(100_000) }))).toBe("answered");
  expect(reached).toEqual(["encode"]);
});

test("of callers that prove nothing the log has a line, and not one for each", () => {
  const lines: string[] = [];
  const nothing = () => {};
  const warn: Logger["warn"] = (about: unknown, text?: unknown) =>
    void lines.push(`${text}: ${(about as { reason: string }).reason}`);
  const log = { warn, debug: nothing, error: nothing } as Partial<Logger>;
  const events = createEvents(callEvents, [logCalls(log as Logger)]);
  const fault = new Fault("unauthorized", "Authentication is required.", { internal: "The call's proof is expired." });
  for (let i = 0; i < 100; i++) events.callRefused({ method: "m", peer: "p", ms: 1, fault });
  events.callRefused({ method: "m", peer: "p", ms: 1, fault: new Fault("overloaded", "Busy.") });
  expect(lines).toEqual(["a caller without the cluster's secret was refused: The call's proof is expired."]);
});

test("a proof is its method's alone, and says nothing when a character of it is changed", () => {
  const proof = proofs.make(path);
  expect(proofs.flawOf(path, proof)).toBeUndefined();
  expect(proofs.flawOf("/florence.v1.Encoder/GetEmbedding", proof)).toBe("wrong");
  for (let i = 0; i < proof.length; i++) {
    const changed = proof.slice(0, i) + (proof[i] === "A" ? "B" : "A") + proof.slice(i + 1);
    expect(proofs.flawOf(path, changed), `character ${i}`).toBe("wrong");
  }
  for (const nothing of ["", ".", "....", "1.2.3", undefined, 7, Buffer.from("x")]) {
    expect(proofs.flawOf(path, nothing)).toMatch(/missing|wrong/);
  }
  expect(proof).not.toContain("secret");
  expect(proofs.make(path)).not.toBe(proof);
});

test("a proof is good for a minute on either side of its time, and not longer", () => {
  let now = 1_000_000;
  const timed = new CallProofs(secret, () => now);
  const proof = timed.make(path);
  for (const [awayMs, flaw] of [
    [proofMsMax, undefined],
    [-proofMsMax, undefined],
    [proofMsMax + 1, "expired"],
    [-proofMsMax - 1, "expired"],
  ] as const) {
    now = 1_000_000 + awayMs;
    expect(timed.flawOf(path, proof)).toBe(flaw);
  }
});

test("who asks for health needs no proof, and nothing else is open beside it", async () => {
  const { server } = await serve({ proofs });
  const health = createClient(HealthService, server.address);
  open.push(health);
  expect((await health.check({ service: "" })).status).toBe(Status.SERVING);
  const ours = createClient(HealthService, server.address, { credentials: { proofs } });
  open.push(ours);
  expect((await ours.check({ service: "" })).status).toBe(Status.SERVING);
  for await (const { status } of health.watch({ service: "" })) {
    expect(status).toBe(Status.SERVING);
    break;
  }
});

test("an answer of something that does not know the secret is not looked at", async () => {
  const impostor = await serve(noCredentials);
  const ours = client(impostor.server.address, { proofs });
  expect(await codeOf(ours.getEmbedding({}))).toBe("unauthorized");
  const wrong = await serve({ proofs: new CallProofs(new Secret("the secret of another cluster")) });
  expect(await codeOf(client(wrong.server.address, { proofs }).getEmbedding({}))).toBe("unauthorized");
});

test("what goes wrong is believed of our own servers alone, and so is what they say before", async () => {
  const failing = {
    encode: async () => {
      throw new Fault("image_undecodable", "The image is damaged.");
    },
    getEmbedding: async () => ({}),
    getEncoderModel: async () => ({}),
  };
  for (const [credentials, code] of [
    [{ proofs: new CallProofs(secret) }, "image_undecodable"],
    [noCredentials, "unauthorized"],
  ] as const) {
    const services = [implement(Encoder, failing)];
    const server = await startServer({ host: "127.0.0.1", port: 0, services, credentials });
    open.push(server);
    expect(await codeOf(client(server.address, { proofs }).encode({}))).toBe(code);
  }
  // A stream that fails after its first message, and one that fails at once.
  for (const [credentials, expected] of [
    [{ proofs }, ["embedding_evicted", "overloaded"]],
    [noCredentials, ["unauthorized", "unauthorized"]],
  ] as const) {
    let calls = 0;
    const generate = async function* () {
      if (calls++ === 0) {
        yield { event: { case: "started" as const, value: { promptTokens: 1 } } };
        throw new Fault("embedding_evicted", "Gone.");
      }
      throw new Fault("overloaded", "Busy.");
    };
    const services = [implement(Decoder, { generate, getDecoderModel: async () => ({}) })];
    const server = await startServer({ host: "127.0.0.1", port: 0, services, credentials });
    const asking = createClient(Decoder, server.address, { credentials: { proofs } });
    open.push(server, asking);
    const ask = async () => {
      for await (const _ of asking.generate({}));
    };
    expect([await codeOf(ask()), await codeOf(ask())]).toEqual(expected);
  }
});

test("a body that comes with no proof is refused before it is there", async () => {
  const { server, reached } = await serve({ proofs });
  const session = connectHttp2(`http://${server.address}`);
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => {});
  // The length of a message of 16 MiB, and none of it.
  stream.write(Buffer.from([0, 1, 0, 0, 0]));
  const [headers] = (await new Promise<unknown[]>((resolve) => stream.once("response", (...all) => resolve(all)))) as [
    Record<string, string>,
  ];
  expect(headers["grpc-status"]).toBe("16");
  expect(reached).toEqual([]);
  session.destroy();
});

test("a server open to other machines that asks for nothing says so once; on loopback or with a secret it does not", async () => {
  expect((await serve(noCredentials)).said).toEqual([]);
  expect((await serve({ proofs }, "0.0.0.0")).said).toEqual([]);
  expect((await serve(noCredentials, "0.0.0.0")).said).toEqual(["exposed"]);
});

const tls = (name: string, authority = "authority", serverName: string | undefined = "florence.test"): Credentials =>
  openCredentials(
    readConfig(
      {
        FLORENCE_TLS_CERT: pem(`${name}.pem`),
        FLORENCE_TLS_KEY: pem(`${name}.key`),
        FLORENCE_TLS_CA: pem(`${authority}.pem`),
        FLORENCE_TLS_SERVER_NAME: serverName,
      },
      clusterConfig,
    ),
  );

test("with certificates both sides show one; a client with none, an expired or a foreign one reaches nothing", async () => {
  const { server, reached } = await serve(tls("service"));
  for (const foreign of [
    noCredentials,
    { proofs },
    tls("expired"),
    tls("foreign"),
    tls("foreign", "foreign-authority"),
  ])
    expect(await codeOf(client(server.address, foreign).encode({}))).toMatch(/unauthorized|unavailable/);
  expect(reached).toEqual([]);
  expect(await codeOf(client(server.address, tls("service")).encode({}))).toBe("answered");
  // Another process of the cluster has another certificate.
  expect(await codeOf(client(server.address, tls("other-name")).encode({}))).toBe("answered");
});

test("a server with an expired or foreign certificate, another name or none is not spoken to", async () => {
  for (const credentials of [tls("expired"), tls("foreign", "authority"), tls("other-name"), noCredentials]) {
    const { server, reached } = await serve(credentials);
    expect(await codeOf(client(server.address, tls("service")).encode({}))).toMatch(/unauthorized|unavailable/);
    expect(reached).toEqual([]);
  }
  const { server } = await serve(tls("service"));
  const byAddress = openCredentials(
    readConfig(
      {
        FLORENCE_TLS_CERT: pem("service.pem"),
        FLORENCE_TLS_KEY: pem("service.key"),
        FLORENCE_TLS_CA: pem("authority.pem"),
      },
      clusterConfig,
    ),
  );
  expect(await codeOf(client(server.address, byAddress).encode({}))).toMatch(/unauthorized|unavailable/);
});

test("with a secret and certificates a call needs both", async () => {
  const both = { ...tls("service"), proofs };
  const { server, reached } = await serve(both);
  expect(await codeOf(client(server.address, tls("service")).encode({}))).toBe("unauthorized");
  expect(await codeOf(client(server.address, { proofs }).encode({}))).toMatch(/unauthorized|unavailable/);
  expect(reached).toEqual([]);
  expect(await codeOf(client(server.address, both).encode({}))).toBe("answered");
});

test("with certificates health is answered in plain text on a port of its own, and nothing else is", async () => {
  const probe = await serve(noCredentials); // Finds a free port.
  await probe.server[Symbol.asyncDispose]();
  const healthPort = probe.server.port;
  await serve({ ...tls("service"), healthPort });
  const health = createClient(HealthService, `127.0.0.1:${healthPort}`);
  open.push(health);
  expect((await health.check({ service: "" })).status).toBe(Status.SERVING);
  expect(await codeOf(client(`127.0.0.1:${healthPort}`, noCredentials).encode({}))).not.toBe("answered");
});

test("certificates are renewed without a restart, and files half written change nothing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "florence-tls-"));
  open.push({ [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) });
  const file = (name: string) => join(folder, name);
  const use = (name: string) => {
    copyFileSync(pem(`${name}.key`), file("service.key"));
    copyFileSync(pem(`${name}.pem`), file("service.pem"));
  };
  use("other-name");
  copyFileSync(pem("authority.pem"), file("authority.pem"));
  const paths = { certFile: file("service.pem"), keyFile: file("service.key"), caFile: file("authority.pem") };
  const { server } = await serve({ tls: new TlsFiles(paths, { rereadMs: 10 }) });
  const ask = async (name: string) => {
    using asking = createClient(Encoder, server.address, { credentials: tls("service", "authority", name) });
    return await codeOf(asking.encode({}));
  };
  expect(await ask("other.test")).toBe("answered");
  expect(await ask("florence.test")).not.toBe("answered");
  use("renewed");
  while ((await ask("florence.test")) !== "answered") await sleep(10);
  expect(await ask("other.test")).not.toBe("answered");
  writeFileSync(file("service.pem"), "-----BEGIN CERT");
  writeFileSync(file("service.key"), "");
  await sleep(100);
  expect(await ask("florence.test")).toBe("answered");
});

test("settings that cannot work are refused at the start", () => {
  const opened = (env: Record<string, string>) => () => openCredentials(readConfig(env, clusterConfig));
  expect(opened({ FLORENCE_CLUSTER_SECRET: "too short" })).toThrow(ConfigError);
  expect(opened({ FLORENCE_TLS_CERT: pem("service.pem") })).toThrow(/go together/);
  const files = { FLORENCE_TLS_CERT: pem("service.pem"), FLORENCE_TLS_CA: pem("authority.pem") };
  expect(opened({ ...files, FLORENCE_TLS_KEY: pem("renewed.key") })).toThrow(ConfigError);
  expect(opened({ ...files, FLORENCE_TLS_KEY: pem("no-such.key") })).toThrow(ConfigError);
  expect(opened({})()).toEqual({});
});

test("a clock that jumps while a call is under way neither ends it nor lets it live", async () => {
  const realNow = Date.now;
  open.push({
    [Symbol.dispose]: () => {
      Date.now = realNow;
    },
  });
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const seen: (number | undefined)[] = [];
  const handlers = {
    encode: async (_: unknown, { deadline, signal }: { deadline: number | undefined; signal: AbortSignal }) => {
      seen.push(deadline && deadline - performance.now());
      started.resolve();
      await release.promise;
      signal.throwIfAborted();
      return { key: "late" };
    },
    getEmbedding: (_: unknown, { signal }: { signal: AbortSignal }) =>
      new Promise<never>((_resolve, reject) => {
        Date.now = () => realNow() - 86_400_000;
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
    getEncoderModel: async () => ({}),
  };
  const server = await startServer({ host: "127.0.0.1", port: 0, services: [implement(Encoder, handlers)] });
  open.push(server);
  const asking = client(server.address, noCredentials);
  const call = asking.encode({}, { deadlineMs: 20_000 });
  await started.promise;
  Date.now = () => realNow() + 86_400_000;
  await sleep(50);
  release.resolve();
  expect((await call).key).toBe("late");
  expect(seen[0]).toBeGreaterThan(15_000);
  // A day back while it waits: the deadline still comes.
  expect(await codeOf(asking.getEmbedding({}, { deadlineMs: 100 }))).toBe("deadline_exceeded");
});

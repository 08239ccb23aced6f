// Foreign processes at the ports of a cluster and at its NATS can neither read, write nor steer anything.

import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { EmbeddingCodec, Seal } from "@florence/embeddings";
import { createClient, implement, startServer } from "@florence/grpc";
import { noCluster } from "@florence/grpc/settings";
import { describeWithNats, startServer as startNats, until } from "@florence/nats-server/testing";
import { Encoder } from "@florence/proto/encoder";
import { Health as HealthService } from "@florence/proto/health";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { startChild } from "./support/child.ts";
import { drawImage, natsBinary } from "./support/cluster.ts";
import { buildModel } from "./support/encoders.ts";
import { clientsOf, clusterOf, documentedUsers, secretEnv, startInside, tlsEnv } from "./support/inside.ts";

const query = "task=object_detection&num_beams=1&max_new_tokens=24";
const resources = new AsyncDisposableStack();
let built: Awaited<ReturnType<typeof buildModel>>;
let images: Uint8Array<ArrayBuffer>[];
beforeAll(async () => {
  built = resources.use(await buildModel());
  images = await Promise.all([1, 2, 3].map((seed) => drawImage(9_000 + seed)));
}, 60_000);
afterAll(() => resources.disposeAsync());

type Inside = Awaited<ReturnType<typeof startInside>>;

const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "answered",
    (error: { code?: string }) => error.code ?? String(error),
  );

async function drain(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}

/** What each call of a process with these credentials comes to: all that the services do, and their models. */
async function attempts(inside: Parameters<typeof clientsOf>[0], cluster = noCluster): Promise<string[]> {
  using foreign = clientsOf(inside, cluster);
  const image = images[0] as Uint8Array<ArrayBuffer>;
  const generate = {
    embeddingKey: `${"0".repeat(16)}.p1.f32.${"0".repeat(64)}`,
    holder: "127.0.0.1:1",
    tasks: [{ name: "caption", input: "" }],
    width: 1,
    height: 1,
  };
  return await Promise.all([
    codeOf(foreign.encoder.encode({ image })),
    codeOf(foreign.encoder.getEmbedding({ key: generate.embeddingKey })),
    codeOf(foreign.encoder.getEncoderModel({})),
    codeOf(drain(foreign.decoder.generate(generate))),
    codeOf(foreign.decoder.getDecoderModel({})),
  ]);
}

/** A listener that somebody might send a service to; how many have come. */
async function listener() {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return {
    address: `127.0.0.1:${(server.address() as { port: number }).port}`,
    get connections() {
      return connections;
    },
    [Symbol.dispose]: () => void server.close(),
  };
}

describe("with a secret", () => {
  const cluster = clusterOf(secretEnv);
  let inside: Inside;
  beforeAll(async () => {
    inside = await startInside({ model: built.model, cluster });
  });
  afterAll(() => inside?.[Symbol.asyncDispose]());

  test("the services work together, and a decoder gets what it lacks from the encoder that made it", async () => {
    const answer = await annotateRaw(inside.url, images[0] as Uint8Array<ArrayBuffer>, query);
    expect(answer.results[0]?.text).toBeTruthy();
    expect(inside.decoderCounts.embeddingFetched).toBe(1);
  });

  test("who has no secret, another, or one that was good before, is unauthorized everywhere", async () => {
    const refused = Array.from({ length: 5 }, () => "unauthorized");
    expect(await attempts(inside)).toEqual(refused);
    expect(await attempts(inside, clusterOf({ FLORENCE_CLUSTER_SECRET: "the secret of another cluster" }))).toEqual(
      refused,
    );
    expect((await attempts(inside, cluster)).every((code) => code === "answered" || code === "embedding_evicted")).toBe(
      true,
    );
  });

  test("a proof that was overheard two minutes ago is worth nothing", async () => {
    const heard: Record<string, string>[] = [];
    await using ear = await startServer({
      host: "127.0.0.1",
      port: 0,
      services: [
        implement(Encoder, {
          encode: async (_, { metadata }) => {
            heard.push(metadata as Record<string, string>);
            return {};
          },
          getEmbedding: async () => ({}),
          getEncoderModel: async () => ({}),
        }),
      ],
    });
    // As a caller of two minutes ago makes it; the services' clock is right.
    const realNow = Date.now;
    try {
      Date.now = () => realNow() - 120_000;
      using caller = clientsOf({ encoder: ear, decoder: ear }, cluster);
      expect(await codeOf(caller.encoder.encode({}))).toBe("unauthorized"); // The ear is no server of ours.
    } finally {
      Date.now = realNow;
    }
    expect(heard).toHaveLength(1);
    using foreign = clientsOf(inside, noCluster);
    const metadata = { "florence-call-proof": heard[0]?.["florence-call-proof"] as string };
    expect(metadata["florence-call-proof"]).toBeTruthy();
    expect(await codeOf(foreign.encoder.encode({ image: images[1] as Uint8Array }, { metadata }))).toBe("unauthorized");
  });

  test("a holder that no encoder stated is not connected to", async () => {
    using trap = await listener();
    using ours = clientsOf(inside, cluster);
    const { key, holder } = await ours.encoder.encode({ image: images[1] as Uint8Array });
    const other = await ours.encoder.encode({ image: images[2] as Uint8Array });
    const tasks = [{ name: "caption", input: "" }];
    const ask = (named: string) =>
      codeOf(
        drain(
          ours.decoder.generate({
            embeddingKey: key,
            holder: named,
            tasks,
            width: 9,
            height: 9,
            options: { maxNewTokens: 2 },
          }),
        ),
      );
    const seal = holder.split("#")[1] as string;
    for (const named of [trap.address, `${trap.address}#`, `${trap.address}#${seal}`, other.holder])
      expect(await ask(named)).toBe("embedding_evicted");
    expect(trap.connections).toBe(0);
    expect(await ask(holder)).toBe("answered");
  });

  test("health is open to probes", async () => {
    using probe = createClient(HealthService, inside.encoder.address);
    expect(await codeOf(probe.check({ service: Encoder.typeName }))).toBe("answered");
  });
});

describe("with certificates", () => {
  const cluster = clusterOf(tlsEnv());
  let inside: Inside;
  beforeAll(async () => {
    inside = await startInside({ model: built.model, cluster });
  });
  afterAll(() => inside?.[Symbol.asyncDispose]());

  test("the services work together, holders included", async () => {
    const answer = await annotateRaw(inside.url, images[0] as Uint8Array<ArrayBuffer>, query);
    expect(answer.results[0]?.text).toBeTruthy();
    expect(inside.decoderCounts.embeddingFetched).toBe(1);
  });

  test.each([
    ["without a certificate", noCluster],
    ["with an expired one", clusterOf(tlsEnv("expired"))],
    ["with one of another authority", clusterOf(tlsEnv("foreign"))],
    ["with another authority on both sides", clusterOf(tlsEnv("foreign", "foreign-authority"))],
  ])("a process %s ends at the handshake", async (_, foreign) => {
    expect(await attempts(inside, foreign)).toEqual(Array.from({ length: 5 }, () => "unavailable"));
    expect((await attempts(inside, cluster)).slice(0, 1)).toEqual(["answered"]);
  });

  test("a holder without a certificate of the cluster is told nothing", async () => {
    let asked = 0;
    await using impostor = await startServer({
      host: "127.0.0.1",
      port: 0,
      services: [
        implement(Encoder, {
          encode: async () => ({}),
          getEmbedding: async () => {
            asked++;
            return {};
          },
          getEncoderModel: async () => ({}),
        }),
      ],
    });
    using ours = clientsOf(inside, cluster);
    const { key } = await ours.encoder.encode({ image: images[1] as Uint8Array });
    const tasks = [{ name: "caption", input: "" }];
    const call = ours.decoder.generate({ embeddingKey: key, holder: impostor.address, tasks, width: 9, height: 9 });
    expect(await codeOf(drain(call))).toBe("embedding_evicted");
    expect(asked).toBe(0);
  });
});

test("without a secret or certificates a decoder asks no other machine for an embedding", async () => {
  await using inside = await startInside({ model: built.model, cluster: noCluster });
  using caller = clientsOf(inside, noCluster);
  const { key } = await caller.encoder.encode({ image: images[0] as Uint8Array });
  const tasks = [{ name: "caption", input: "" }];
  // Addresses for documentation, which nobody has: connecting would take until the deadline.
  for (const holder of ["192.0.2.1:50051", "[2001:db8::1]:50051", "holder.invalid:50051"]) {
    const call = caller.decoder.generate({ embeddingKey: key, holder, tasks, width: 9, height: 9 });
    expect(await codeOf(drain(call))).toBe("embedding_evicted");
  }
  expect(inside.decoderCounts.embeddingFetched).toBe(3);
});

describe.runIf(process.platform === "linux")("florence serve, all in one process", () => {
  test("gives its gRPC ports to nobody else on the machine", async () => {
    const args = ["serve", "--port", "0"];
    const cache = mkdtempSync(join(tmpdir(), "florence-inside-"));
    resources.defer(() => rmSync(cache, { recursive: true, force: true }));
    await using served = await startChild("apps/cli/src/main.ts", args, {
      FLORENCE_CACHE: cache,
      FLORENCE_LOG_LEVEL: "fatal",
    });
    const ports = listeningPorts(served.pid).filter((port) => !served.address.endsWith(`:${port}`));
    expect(ports).toHaveLength(2);
    for (const port of ports) {
      const at = { address: `127.0.0.1:${port}` };
      using foreign = clientsOf({ encoder: at, decoder: at }, noCluster);
      const calls = [foreign.encoder.encode({ image: images[0] as Uint8Array }), foreign.decoder.getDecoderModel({})];
      // On the port of the other service there is no such method.
      expect((await Promise.all(calls.map(codeOf))).sort()).toEqual(["internal", "unauthorized"]);
    }
  });
});

/** The TCP ports that a process listens on. */
function listeningPorts(pid: number): number[] {
  const sockets = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return [];
      }
    }),
  );
  const rows = ["tcp", "tcp6"].flatMap((table) => readFileSync(`/proc/${pid}/net/${table}`, "utf8").split("\n"));
  return rows.flatMap((row) => {
    const [, local = "", , state, , , , , , inode = ""] = row.trim().split(/\s+/);
    return state === "0A" && sockets.has(inode) ? [Number.parseInt(local.split(":")[1] as string, 16)] : [];
  });
}

/** A PATH on which a program is found. */
const pathOf = (program: unknown): string => dirname(String(program));

const passwords = { encoder: "the encoders' password", decoder: "the decoders' password" };
const users = (url: string) => ({
  encoder: { FLORENCE_NATS: url, FLORENCE_NATS_USER: "encoder", FLORENCE_NATS_PASSWORD: passwords.encoder },
  decoder: { FLORENCE_NATS: url, FLORENCE_NATS_USER: "decoder", FLORENCE_NATS_PASSWORD: passwords.decoder },
});

describeWithNats("in NATS, with the users that the documentation gives it", () => {
  const admin = { user: "admin", pass: "the test's own" };
  const config = () =>
    documentedUsers(passwords).replace(
      "users = [",
      `users = [ { user: admin, password: "${admin.pass}" }, { user: nobody, password: "x", permissions: { publish: { deny: ">" }, subscribe: { deny: ">" } } },`,
    );
  const cluster = clusterOf(secretEnv);
  const bucket = "florence-embeddings";

  test("an encoder writes what a decoder reads, and nobody's value but theirs is believed", async () => {
    await using server = await startNats({ config: config() });
    await using inside = await startInside({
      model: built.model,
      cluster,
      nats: users(server.url),
      decoderBytesMax: 0,
    });
    const right: string[] = [];
    const keys: string[] = [];
    using ours = clientsOf(inside, cluster);
    for (const image of images) {
      right.push((await annotateRaw(inside.url, image, query)).results[0]?.text as string);
      keys.push((await ours.encoder.encode({ image })).key);
    }
    expect(new Set(right).size).toBeGreaterThan(1);
    await until(() => inside.encoderCounts.valueWritten >= 6); // Embeddings and aliases.
    const [key, other] = keys as [string, string];
    const connection = await connect({ servers: server.url, ...admin });
    resources.defer(() => connection.close());
    const read = async (name: string) => {
      const { streams } = await jetstreamManager(connection);
      const message = await streams.getMessage(`KV_${bucket}`, { last_by_subj: `$KV.${bucket}.${name}` });
      return new Uint8Array(message?.data ?? []);
    };
    const write = (name: string, value: Uint8Array) => jetstream(connection).publish(`$KV.${bucket}.${name}`, value);
    const good = await read(key);
    const foreign = new EmbeddingCodec(new Seal());
    const decoded = new EmbeddingCodec(new Seal(cluster.secret)).decode(other, await read(other));
    if ("flaw" in decoded) throw new Error(decoded.flaw);
    const nan = foreign.encode(key, decoded.embedding);
    new DataView(nan.buffer).setFloat32(nan.length - 4, Number.NaN, true);
    const poisons: [what: string, value: Uint8Array][] = [
      ["another image's value", await read(other)],
      ["another image's embedding, sealed without the secret", foreign.encode(key, decoded.embedding)],
      ["a number that is none", nan],
      ["half of the value", good.subarray(0, good.length >> 1)],
      ["nothing", new Uint8Array()],
      ["one bit flipped", good.map((byte, i) => (i === good.length - 9 ? byte ^ 1 : byte))],
      ["a seal cut off", good.subarray(0, 40)],
    ];
    // From NATS, before it is spoilt.
    expect((await annotateRaw(inside.url, images[0] as Uint8Array<ArrayBuffer>, query)).results[0]?.text).toBe(
      right[0],
    );
    const found = inside.decoderStoreCounts.embeddingFound;
    expect(found).toBeGreaterThan(0);
    for (const [what, value] of poisons) {
      await write(key, value);
      const before = inside.decoderStoreCounts.valueCorrupt;
      const answer = await annotateRaw(inside.url, images[0] as Uint8Array<ArrayBuffer>, query);
      expect(answer.results[0]?.text, what).toBe(right[0]);
      expect(inside.decoderStoreCounts.valueCorrupt, what).toBeGreaterThan(before);
    }
    expect(inside.decoderStoreCounts.embeddingFound).toBe(found);
    // What the decoder got from the holder it has not written: the last poison is still there, until an encoder meets it.
    expect(await read(key)).toEqual(good.subarray(0, 40));
    await using late = await startInside({ model: built.model, cluster, nats: users(server.url) });
    expect((await annotateRaw(late.url, images[0] as Uint8Array<ArrayBuffer>, query)).results[0]?.text).toBe(right[0]);
    expect(late.encoderCounts.valueCorrupt).toBeGreaterThan(0);
    await until(async () => Buffer.compare(await read(key), good) === 0);
    // The seal covers what is said, and a lease or an alias made up by others is not believed either.
    expect(inside.encoderCounts).toMatchObject({ natsMisconfigured: 0, valueFailed: 0, leaseUnavailable: 0 });
    expect(inside.decoderStoreCounts).toMatchObject({ natsMisconfigured: 0, valueWritten: 0, valueFailed: 0 });
  }, 60_000);

  test("florence dev gives its NATS and its services to its own processes alone", async () => {
    const cache = mkdtempSync(join(tmpdir(), "florence-inside-"));
    resources.defer(() => rmSync(cache, { recursive: true, force: true }));
    const env = { FLORENCE_CACHE: cache, PATH: pathOf(natsBinary) };
    const says = /nats +(nats:\S+)\n[\s\S]*readyz\n/;
    await using dev = await startChild("apps/cli/src/main.ts", ["dev", "--nats"], env, says);
    await expect(connect({ servers: dev.address, reconnect: false })).rejects.toThrow(/authorization/i);
    const address = (role: string) => new RegExp(`${role}-0 +(\\S+)`).exec(dev.words)?.[1] as string;
    const inside = { encoder: { address: address("encoder") }, decoder: { address: address("decoder") } };
    expect(await attempts(inside)).toEqual(Array.from({ length: 5 }, () => "unauthorized"));
    const image = images[0] as Uint8Array<ArrayBuffer>;
    expect((await annotateRaw(address("gateway"), image, query)).results[0]?.text).toBeTruthy();
    expect(await dev.stop()).toBe(0);
  });

  test("who has no password connects to nothing, and who may do nothing does nothing", async () => {
    await using server = await startNats({ config: config() });
    for (const wrong of [{}, { user: "encoder" }, { user: "encoder", pass: "guess" }, { token: "guess" }])
      await expect(connect({ servers: server.url, ...wrong, reconnect: false })).rejects.toThrow();
    await using _inside = await startInside({ model: built.model, cluster, nats: users(server.url) });
    const connection = await connect({ servers: server.url, user: "nobody", pass: "x" });
    try {
      expect(await tries(connection)).toEqual({ put: false, get: false, info: false, remove: false, lease: false });
    } finally {
      await connection.close();
    }
  });

  test("a decoder's user reads embeddings and writes, deletes and leases nothing", async () => {
    await using server = await startNats({ config: config() });
    await using _inside = await startInside({ model: built.model, cluster, nats: users(server.url) });
    const connection = await connect({
      servers: server.url,
      user: "decoder",
      pass: passwords.decoder,
      inboxPrefix: "_INBOX_florence-decoder",
    });
    try {
      expect(await tries(connection)).toEqual({ put: false, get: true, info: true, remove: false, lease: false });
    } finally {
      await connection.close();
    }
    const asEncoder = await connect({
      servers: server.url,
      user: "encoder",
      pass: passwords.encoder,
      inboxPrefix: "_INBOX_florence-encoder",
    });
    try {
      // The stream itself is nobody's to remove.
      expect(await tries(asEncoder)).toEqual({ put: true, get: true, info: true, remove: false, lease: true });
    } finally {
      await asEncoder.close();
    }
  });

  /** What a user of the server gets an answer to. */
  async function tries(connection: NatsConnection) {
    const answered = async (subject: string, data = "") => {
      try {
        await connection.request(subject, data, { timeout: 300 });
        return true;
      } catch {
        return false;
      }
    };
    return {
      put: await answered(`$KV.${bucket}.k`, "poison"),
      get: await answered(`$JS.API.DIRECT.GET.KV_${bucket}.$KV.${bucket}.k`),
      info: await answered(`$JS.API.STREAM.INFO.KV_${bucket}`),
      remove: await answered(`$JS.API.STREAM.DELETE.KV_${bucket}`),
      lease: await answered("$KV.florence-leases.k", "mine"),
    };
  }
});

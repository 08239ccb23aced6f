import { setTimeout as sleep } from "node:timers/promises";
import type { NatsServer } from "@florence/nats-server";
import { describeWithNats, startServer, until } from "@florence/nats-server/testing";
import { createEvents } from "@florence/service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { embeddingEvents } from "../../src/index.ts";
import { connectNats, Leases, NatsBucket, type NatsLink } from "../../src/nats/index.ts";
import { heard } from "../heard.ts";
import { newKey } from "./running.ts";

const minuteMs = 60_000;

describeWithNats("leases", () => {
  let server: NatsServer;
  let links: NatsLink[] = [];
  beforeAll(async () => {
    server = await startServer();
    links = await Promise.all([1, 2, 3, 4].map(() => connectNats({ servers: server.url })));
  });
  afterAll(async () => {
    for (const link of links) await link[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  const open = async (index = 0, options = {}) => {
    const { events, counts } = heard();
    const leases = await Leases.open(links[index] as NatsLink, { acquireMsMax: 2000, events, ...options });
    return Object.assign(leases, { counts });
  };

  test("of 64 who want one at the same time from four processes, one gets it, round after round", async () => {
    const processes = await Promise.all([0, 1, 2, 3].map((index) => open(index)));
    for (let round = 0; round < 5; round++) {
      const key = round < 3 ? `round.${round}` : "again"; // The last ones start from a released lease.
      const tries = Array.from({ length: 64 }, (_, index) =>
        processes[index % 4]?.acquire(key, `pod-${index}:1`, minuteMs),
      );
      const outcomes = await Promise.all(tries);
      const acquired = outcomes.filter((one) => one?.outcome === "acquired");
      expect(acquired).toHaveLength(1);
      const [winner] = acquired;
      const index = outcomes.indexOf(winner);
      for (const one of outcomes) {
        if (one !== winner) expect(one).toMatchObject({ outcome: "held", holder: `pod-${index}:1` });
        if (one?.outcome === "held") expect(one.expiresInMs).toBeGreaterThan(minuteMs / 2);
      }
      if (winner?.outcome === "acquired") await winner.lease.release();
    }
    expect(processes.map(({ counts }) => counts.leaseAcquired).reduce((sum, one) => sum + one)).toBe(5);
    expect(processes.map(({ counts }) => counts.leaseReleased).reduce((sum, one) => sum + one)).toBe(5);
    for (const one of processes) one[Symbol.dispose]();
  });

  test("work behind a lease never overlaps", async () => {
    using leases = await open(0);
    using others = await open(1);
    let inside = 0;
    let done = 0;
    const work = async (index: number) => {
      while (true) {
        const taken = await (index % 2 ? leases : others).acquire("counter", `pod-${index}`, minuteMs);
        if (taken.outcome === "acquired") {
          expect(++inside).toBe(1);
          await sleep(2);
          inside--;
          done++;
          return taken.lease.release();
        }
        await leases.waitFor("counter", { budgetMs: minuteMs });
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, index) => work(index)));
    expect(done).toBe(16);
  });

  test("a dead holder's lease is taken over by exactly one, once its time has run out", async () => {
    const clock = { ms: 1_000_000 };
    using dead = await open(0, { now: () => clock.ms });
    const takings: boolean[] = [];
    const hear = { leaseAcquired: ({ takenOver }: { takenOver: boolean }) => void takings.push(takenOver) };
    using alive = await open(1, { now: () => clock.ms, events: createEvents(embeddingEvents, [hear]) });
    // Time to live longer than the test, so that no renewal comes: as good as dead.
    expect(await dead.acquire("orphan", "dead:1", minuteMs)).toMatchObject({ outcome: "acquired" });
    // Nobody else's clock counts: that of who comes runs from when it first sees the lease.
    clock.ms += 10 * minuteMs;
    expect(await alive.acquire("orphan", "alive:1", minuteMs)).toMatchObject({ outcome: "held", holder: "dead:1" });
    clock.ms += minuteMs - 1;
    expect(await alive.waitFor("orphan", { budgetMs: 20 })).toMatchObject({ ended: "budget", holder: "dead:1" });
    clock.ms += 1;
    expect(await alive.waitFor("orphan", { budgetMs: minuteMs })).toMatchObject({ ended: "expired", holder: "dead:1" });
    const tries = Array.from({ length: 16 }, () => alive.acquire("orphan", "alive:1", minuteMs));
    const outcomes = await Promise.all(tries);
    expect(outcomes.filter(({ outcome }) => outcome === "acquired")).toHaveLength(1);
    expect(takings).toEqual([true]);
  });

  test("who lost a lease to another does not take it away by renewing or releasing", async () => {
    const clock = { ms: 1_000_000 };
    using slow = await open(0, { now: () => clock.ms });
    using quick = await open(1, { now: () => clock.ms });
    const first = await slow.acquire("contested", "slow:1", minuteMs);
    expect(await quick.acquire("contested", "quick:1", minuteMs)).toMatchObject({ outcome: "held" });
    clock.ms += minuteMs;
    const second = await quick.acquire("contested", "quick:1", minuteMs);
    if (first.outcome !== "acquired" || second.outcome !== "acquired")
      throw new Error("neither was in the other's way");
    expect(await first.lease.renew()).toBe(false);
    expect(first.lease.lost).toBe(true);
    expect(slow.counts.leaseLost).toBe(1);
    await first.lease.release();
    expect(await slow.acquire("contested", "slow:1", minuteMs)).toMatchObject({ outcome: "held", holder: "quick:1" });
    expect(await second.lease.renew()).toBe(true);
    await second.lease.release();
    expect(await slow.acquire("contested", "slow:1", minuteMs)).toMatchObject({ outcome: "acquired" });
  });

  test("a lease outlives its time to live while its holder works", async () => {
    using leases = await open(0);
    using others = await open(1);
    const taken = await leases.acquire("long", "holder:1", 1000);
    await sleep(2500);
    expect(await others.acquire("long", "other:1", minuteMs)).toMatchObject({ outcome: "held" });
    if (taken.outcome === "acquired") await taken.lease.release();
    expect(await others.acquire("long", "other:1", minuteMs)).toMatchObject({ outcome: "acquired" });
  });

  test("a release wakes all who wait, and tells them who had it", async () => {
    using leases = await open(0);
    using others = await open(1);
    const taken = await leases.acquire("awaited", "holder:9", minuteMs);
    const waits = Array.from({ length: 50 }, () => others.waitFor("awaited", { budgetMs: minuteMs }));
    await until(() => others.waiting === 50);
    await sleep(50);
    if (taken.outcome === "acquired") await taken.lease.release();
    for (const wait of await Promise.all(waits)) expect(wait).toMatchObject({ ended: "released", holder: "holder:9" });
    expect(others.counts.leaseAwaited).toBe(50);
    expect(others.waiting).toBe(0);
    expect(await others.waitFor(newKey(), { budgetMs: minuteMs })).toMatchObject({
      ended: "released",
      holder: undefined,
    });
  });

  test("waiting ends when what is awaited appears, or when the caller leaves", async () => {
    using leases = await open(0);
    await leases.acquire("appearing", "holder:1", minuteMs);
    let looks = 0;
    const appeared = async () => (++looks === 3 ? "here" : undefined);
    expect(await leases.waitFor("appearing", { budgetMs: minuteMs, appeared })).toMatchObject({
      ended: "appeared",
      found: "here",
    });
    const controller = new AbortController();
    const wait = leases.waitFor("appearing", { budgetMs: minuteMs, signal: controller.signal });
    setTimeout(() => controller.abort(new Error("left")), 20);
    await expect(wait).rejects.toThrow("left");
    expect(leases.waiting).toBe(0);
  });

  test("what is no lease blocks nobody", async () => {
    using leases = await open(0);
    const settings = {
      name: "florence-leases",
      storage: "memory",
      ttlMs: 600_000,
      bytesMax: 16 * 1024 * 1024,
      valueBytesMax: 1024,
      replicas: 1,
    } as const;
    using bucket = await NatsBucket.open(links[1] as NatsLink, settings);
    await bucket.put("garbage", "{}", { timeoutMs: 1000 });
    expect(await leases.acquire("garbage", "holder:1", minuteMs)).toMatchObject({ outcome: "acquired" });
  });
});

describeWithNats("leases without NATS", () => {
  test("the answer is unavailable, at once when it is known and in time when it is not; later they work again", async () => {
    await using server = await startServer();
    await using link = await connectNats({ servers: server.url });
    using leases = await Leases.open(link);
    const held = await leases.acquire("before", "holder:1", minuteMs);
    const looked = Promise.withResolvers<undefined>();
    const appeared = async () => looked.resolve(undefined);
    const waiting = leases.waitFor("before", { budgetMs: minuteMs, appeared });
    await looked.promise;
    server.freeze();
    await until(async () => (await leases.acquire("frozen", "holder:1", minuteMs)).outcome === "unavailable");
    expect(await waiting).toMatchObject({ ended: "unavailable", holder: "holder:1" });
    if (held.outcome === "acquired") await held.lease.release();
    await server.kill();
    expect(await leases.acquire("gone", "holder:1", minuteMs)).toEqual({ outcome: "unavailable" });
    await server.restart({ keepData: false });
    await until(async () => (await leases.acquire("back", "holder:1", minuteMs)).outcome !== "unavailable");
    expect(await leases.acquire("back", "other:1", minuteMs)).toMatchObject({ outcome: "held", holder: "holder:1" });
  });
});

import { expect, test } from "vitest";
import { Admission } from "../src/index.ts";

test("slots are bounded and handed on first come, first served", async () => {
  const admission = new Admission({ running: 2, waiting: 3 });
  const first = await admission.acquire();
  await admission.acquire();
  const order: number[] = [];
  const waiting = [0, 1, 2].map(async (index) => {
    const slot = await admission.acquire();
    order.push(index);
    slot[Symbol.dispose]();
  });
  expect(admission).toMatchObject({ running: 2, waiting: 3 });
  expect(order).toEqual([]);
  first[Symbol.dispose]();
  await Promise.all(waiting);
  expect(order).toEqual([0, 1, 2]);
  expect(admission).toMatchObject({ running: 1, waiting: 0 });
});

test("a caller past the queue is refused with a retry hint", async () => {
  const admission = new Admission({ running: 1, waiting: 0, retryAfterS: 2 });
  const slot = await admission.acquire();
  await expect(admission.acquire()).rejects.toMatchObject({ code: "overloaded", retryAfterS: 2 });
  slot[Symbol.dispose]();
  await expect(admission.acquire()).resolves.toBeDefined();
});

test("a slot disposed twice is freed once", async () => {
  const admission = new Admission({ running: 1, waiting: 1 });
  const slot = await admission.acquire();
  slot[Symbol.dispose]();
  slot[Symbol.dispose]();
  expect(admission.running).toBe(0);
  await admission.acquire();
  await expect(Promise.race([admission.acquire(), Promise.resolve("waits")])).resolves.toBe("waits");
});

test("a caller that gives up leaves the queue and takes no slot", async () => {
  const admission = new Admission({ running: 1, waiting: 1 });
  const slot = await admission.acquire();
  const controller = new AbortController();
  const left = admission.acquire(controller.signal);
  controller.abort();
  await expect(left).rejects.toMatchObject({ code: "cancelled" });
  expect(admission.waiting).toBe(0);
  slot[Symbol.dispose]();
  expect(admission.running).toBe(0);
  await expect(admission.acquire(controller.signal)).rejects.toMatchObject({ code: "cancelled" });
});

test("one who has waited too long is refused, and does not keep its place", async () => {
  const admission = new Admission({ running: 1, waiting: 2, waitMsMax: 1 });
  const patient = new Admission({ running: 1, waiting: 1, waitMsMax: 60_000 });
  const [slot, other] = [await admission.acquire(), await patient.acquire()];
  await expect(admission.acquire()).rejects.toMatchObject({ code: "overloaded" });
  expect(admission.waiting).toBe(0);
  const waiting = patient.acquire();
  await expect(patient.acquire()).rejects.toMatchObject({ code: "overloaded" }); // Too many wait.
  slot[Symbol.dispose]();
  other[Symbol.dispose]();
  await waiting;
  await admission.acquire();
  expect([admission.running, patient.running]).toEqual([1, 1]);
});

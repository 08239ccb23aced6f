import { expect, test } from "vitest";
import { orAborted, sleep, within } from "../src/index.ts";

const never = new Promise<never>(() => {});

test("a sleep ends by itself, and at once with the reason of its signal", async () => {
  await sleep(1);
  const controller = new AbortController();
  const sleeping = sleep(60_000, controller.signal);
  controller.abort(new Error("enough"));
  await expect(sleeping).rejects.toThrow("enough");
  await expect(sleep(60_000, controller.signal)).rejects.toThrow("enough");
});

test("waiting for what never settles ends with the signal's reason", async () => {
  const controller = new AbortController();
  const waiting = orAborted(never, controller.signal);
  controller.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await expect(orAborted(never, controller.signal)).rejects.toThrow("enough");
  await expect(orAborted(Promise.resolve(1), new AbortController().signal)).resolves.toBe(1);
});

test("waiting for what never settles ends when the time is up", async () => {
  await expect(within(never, 5)).rejects.toMatchObject({ name: "TimeoutError" });
  await expect(within(Promise.resolve(1), 60_000)).resolves.toBe(1);
});

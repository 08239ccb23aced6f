import { expect, test } from "vitest";
import { SingleFlight } from "../src/index.ts";

/** A computation that ends when told to, and counts how often it was begun. */
function computation() {
  const signals: AbortSignal[] = [];
  const ends: Array<PromiseWithResolvers<string>> = [];
  const compute = (signal: AbortSignal) => {
    const end = Promise.withResolvers<string>();
    signals.push(signal);
    ends.push(end);
    signal.addEventListener("abort", () => end.reject(signal.reason));
    return end.promise;
  };
  return { compute, signals, ends };
}

test("concurrent callers of a key share one computation, other keys do not", async () => {
  const flights = new SingleFlight<string>();
  const { compute, ends } = computation();
  const callers = ["a", "a", "b", "a"].map((key) => flights.run(key, compute));
  expect(ends).toHaveLength(2);
  expect(flights.size).toBe(2);
  ends[0]?.resolve("first");
  ends[1]?.resolve("second");
  expect(await Promise.all(callers)).toEqual([
    { value: "first", joined: false },
    { value: "first", joined: true },
    { value: "second", joined: false },
    { value: "first", joined: true },
  ]);
  expect(flights.size).toBe(0);
});

test("a value is not kept: the next caller computes again", async () => {
  const flights = new SingleFlight<number>();
  let runs = 0;
  const compute = async () => ++runs;
  expect(await flights.run("a", compute)).toEqual({ value: 1, joined: false });
  expect(await flights.run("a", compute)).toEqual({ value: 2, joined: false });
});

test("an error reaches every caller and is not kept, thrown or rejected", async () => {
  const flights = new SingleFlight<string>();
  const fail = async () => {
    throw new Error("broken");
  };
  const failAtOnce = () => {
    throw new Error("broken");
  };
  for (const compute of [fail, failAtOnce]) {
    const results = await Promise.allSettled([flights.run("a", compute), flights.run("a", compute)]);
    for (const result of results) expect(result).toMatchObject({ status: "rejected", reason: { message: "broken" } });
    expect(await flights.run("a", async () => "fine")).toEqual({ value: "fine", joined: false });
  }
});

test("one caller's abort leaves the others their value", async () => {
  const flights = new SingleFlight<string>();
  const { compute, signals, ends } = computation();
  const first = new AbortController();
  const leaving = flights.run("a", compute, first.signal);
  const staying = flights.run("a", compute, new AbortController().signal);
  first.abort(new Error("gone"));
  await expect(leaving).rejects.toThrow("gone");
  expect(signals[0]?.aborted).toBe(false);
  ends[0]?.resolve("value");
  expect(await staying).toEqual({ value: "value", joined: true });
  expect(signals[0]?.aborted).toBe(false);
});

test("the last abort cancels the computation, and the next caller begins anew", async () => {
  const flights = new SingleFlight<string>();
  const { compute, signals, ends } = computation();
  const controllers = [new AbortController(), new AbortController()];
  const callers = controllers.map(({ signal }) => flights.run("a", compute, signal));
  for (const controller of controllers) controller.abort(new Error("gone"));
  for (const result of await Promise.allSettled(callers)) expect(result.status).toBe("rejected");
  expect(signals[0]?.aborted).toBe(true);
  expect(flights.size).toBe(0);
  const next = flights.run("a", compute);
  expect(ends).toHaveLength(2);
  ends[1]?.resolve("again");
  expect(await next).toEqual({ value: "again", joined: false });
});

test("a cancelled computation that ends late does not disturb its successor", async () => {
  const flights = new SingleFlight<string>();
  const late = Promise.withResolvers<string>();
  const controller = new AbortController();
  const leaving = flights.run("a", () => late.promise, controller.signal);
  controller.abort(new Error("gone"));
  await expect(leaving).rejects.toThrow("gone");
  const end = Promise.withResolvers<string>();
  const successor = flights.run("a", () => end.promise);
  late.resolve("late");
  await late.promise;
  const joiner = flights.run("a", async () => "not computed");
  end.resolve("value");
  expect((await successor).value).toBe("value");
  expect(await joiner).toEqual({ value: "value", joined: true });
});

test("a caller that is already gone begins nothing", async () => {
  const flights = new SingleFlight<string>();
  const { compute, ends } = computation();
  await expect(flights.run("a", compute, AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
  expect(ends).toHaveLength(0);
});

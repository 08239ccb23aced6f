import { expect, test } from "vitest";
import { HeldBytes } from "../src/http/held-bytes.ts";
import { Places } from "../src/http/places.ts";

const never = new AbortController().signal;
const overloaded = expect.objectContaining({ code: "overloaded" });
const heavy = (caller: string) => ({ caller, light: false });

/** Asks for places, and notes whose come in which order. */
function asking(places: Places) {
  const served: string[] = [];
  const ask = (name: string, request: { caller: string; light: boolean }) =>
    places.acquire(request, never).then((place) => {
      served.push(name);
      return place;
    });
  return { served, ask };
}

test("a caller that is alone may have all places but the reserve; calls without an image and newcomers have that", async () => {
  const places = new Places({ running: 8, reserved: 2, waiting: 0 });
  for (let i = 0; i < 6; i++) await places.acquire(heavy("a"), never);
  await expect(places.acquire(heavy("a"), never)).rejects.toEqual(overloaded);
  const light = await places.acquire({ caller: "a", light: true }, never);
  await places.acquire(heavy("b"), never);
  await expect(places.acquire(heavy("b"), never)).rejects.toEqual(overloaded);
  light[Symbol.dispose]();
  light[Symbol.dispose]();
  expect(places.running).toBe(7);
  await places.acquire(heavy("c"), never);
  await expect(places.acquire(heavy("d"), never)).rejects.toEqual(overloaded);
});

test("a free place goes to the waiting caller that has the fewest, and among its equals to who came first", async () => {
  const places = new Places({ running: 3, reserved: 0, waiting: 9 });
  const { served, ask } = asking(places);
  const [first, second] = [await ask("a1", heavy("a")), await ask("a2", heavy("a")), await ask("b1", heavy("b"))];
  const waiting = [ask("a3", heavy("a")), ask("b2", heavy("b")), ask("c1", heavy("c")), ask("c2", heavy("c"))];
  first[Symbol.dispose]();
  await waiting[2];
  second?.[Symbol.dispose]();
  await waiting[0];
  expect(served).toEqual(["a1", "a2", "b1", "c1", "a3"]);
  expect(places.running).toBe(3);
});

test("in a full queue the latest call of the caller that has the most makes room for one that has less, and for nobody else", async () => {
  const places = new Places({ running: 1, reserved: 0, waiting: 2 });
  const { served, ask } = asking(places);
  const running = await ask("a1", heavy("a"));
  const second = ask("a2", heavy("a"));
  const third = ask("a3", heavy("a"));
  expect(places.takes(heavy("a"))).toBe(false);
  await expect(places.acquire(heavy("a"), never)).rejects.toEqual(overloaded);
  expect(places.takes(heavy("b"))).toBe(true);
  const newcomer = ask("b1", heavy("b"));
  await expect(third).rejects.toEqual(overloaded);
  const another = ask("c1", heavy("c"));
  await expect(second).rejects.toEqual(overloaded);
  expect(places.takes(heavy("b"))).toBe(false);
  running[Symbol.dispose]();
  (await newcomer)[Symbol.dispose]();
  (await another)[Symbol.dispose]();
  expect(served).toEqual(["a1", "b1", "c1"]);
  expect(places.running).toBe(0);
});

test("who leaves the queue is not served, and its turn is the next one's", async () => {
  const places = new Places({ running: 1, reserved: 0, waiting: 2 });
  const running = await places.acquire(heavy("a"), never);
  const leaving = new AbortController();
  const left = places.acquire(heavy("b"), leaving.signal);
  const next = places.acquire(heavy("b"), never);
  leaving.abort();
  await expect(left).rejects.toEqual(expect.objectContaining({ code: "cancelled" }));
  running[Symbol.dispose]();
  (await next)[Symbol.dispose]();
  expect(places.running).toBe(0);
  await expect(places.acquire(heavy("b"), leaving.signal)).rejects.toEqual(
    expect.objectContaining({ code: "cancelled" }),
  );
});

test("of many callers each gets its turn, however many calls one of them has", async () => {
  const places = new Places({ running: 4, reserved: 0, waiting: 8 });
  const { served, ask } = asking(places);
  const asked = [
    ...Array.from({ length: 20 }, (_, i) => ask(`flood${i}`, heavy("flood"))),
    ...["a", "b", "c", "d"].map((caller) => ask(caller, heavy(caller))),
  ];
  const left = (place: Disposable) => setTimeout(() => place[Symbol.dispose](), 1);
  await Promise.allSettled(asked.map((place) => place.then(left)));
  expect(served.filter((name) => !name.startsWith("flood")).sort()).toEqual(["a", "b", "c", "d"]);
  expect(served.indexOf("d")).toBeLessThan(9); // After the four that ran, and among the next.
});

test("one caller's requests hold at most its share of bytes together, and its only request what there is", () => {
  const bytes = new HeldBytes(100, 75);
  const [first, second] = [bytes.open("a"), bytes.open("a")];
  first.take(70);
  expect(() => second.take(6)).toThrow(expect.objectContaining({ code: "overloaded" }));
  second.take(5);
  const other = bytes.open("b");
  other.take(25);
  expect(() => other.take(1)).toThrow(expect.objectContaining({ code: "overloaded" }));
  for (const account of [first, other, first]) account[Symbol.dispose]();
  expect(bytes.held).toBe(5);
  second.take(95);
  second[Symbol.dispose]();
  second.take(1);
  expect(bytes.held).toBe(0);
});

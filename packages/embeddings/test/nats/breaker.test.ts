import { expect, test } from "vitest";
import { Breaker } from "../../src/nats/breaker.ts";

function breaker(options: { works?: boolean; probeAfterMs?: number } = {}) {
  const state = { works: options.works ?? true, probes: 0, opens: 0, closes: 0 };
  const made = new Breaker({
    failuresMax: 3,
    probeAfterMs: options.probeAfterMs ?? 60_000,
    probe: async () => {
      state.probes++;
      if (!state.works) throw new Error("down");
    },
    onOpen: () => void state.opens++,
    onClose: () => void state.closes++,
  });
  return { state, breaker: made };
}

test("it is open until a probe has found that the other side works", async () => {
  const { state, breaker: made } = breaker({ works: false });
  using _ = made;
  expect(made.closed).toBe(false);
  await made.probeNow();
  expect(made.closed).toBe(false);
  state.works = true;
  await made.probeNow();
  expect(made.closed).toBe(true);
  expect(state.closes).toBe(1);
  expect(state.opens).toBe(0);
});

test("failures in a row open it, failures between successes do not", async () => {
  const { state, breaker: made } = breaker();
  using _ = made;
  await made.probeNow();
  for (let round = 0; round < 5; round++) {
    made.failure();
    made.failure();
    made.success();
  }
  expect(made.closed).toBe(true);
  for (let failure = 0; failure < 4; failure++) made.failure();
  expect(made.closed).toBe(false);
  expect(state.opens).toBe(1);
});

test("once open it probes by itself until it can close", async () => {
  const { state, breaker: made } = breaker({ probeAfterMs: 5 });
  using _ = made;
  await made.probeNow();
  state.works = false;
  made.open();
  while (state.probes < 4) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(made.closed).toBe(false);
  state.works = true;
  while (!made.closed) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(state.closes).toBe(2);
});

test("a probe that began before the latest opening does not close it", async () => {
  const gate = Promise.withResolvers<void>();
  using made = new Breaker({ failuresMax: 3, probeAfterMs: 60_000, probe: () => gate.promise });
  const probe = made.probeNow();
  await new Promise(setImmediate); // It is under way.
  made.open();
  gate.resolve();
  await probe;
  expect(made.closed).toBe(false);
  await made.probeNow();
  expect(made.closed).toBe(true);
});

import { createEvents } from "@florence/service";
import { describe, expect, test } from "vitest";
import { gatewayEvents } from "../src/events.ts";
import { byImage, byLoad } from "../src/peers/choice.ts";
import { type Peer, Peers } from "../src/peers/peers.ts";

const events = createEvents(gatewayEvents);
const quiet = { service: "encoder" as const, events, resolve: async () => [] };
const peer = (address: string): Peer<string> => ({ address, client: address, inFlight: 0, avoidUntil: 0 });
const three = () => [peer("10.0.0.1:1"), peer("10.0.0.2:1"), peer("10.0.0.3:1")];
const images = Array.from({ length: 300 }, (_, i) => `image ${i}`);
const chosen = (peers: Peer<string>[], image: string) => byImage(peers, image, 0)[0]?.address;

describe("an image's encoder", () => {
  test("is the same while the set of encoders is, whatever the order in which they are known", () => {
    for (const image of images) expect(chosen(three().reverse(), image)).toBe(chosen(three(), image));
  });

  test("is as likely to be one as another, whatever their addresses look like", () => {
    const addresses = Array.from({ length: 16 }, (_, i) => `10.0.0.${i}:50051`);
    const images = Array.from({ length: 16_000 }, (_, i) => `${i}`);
    const counts = new Map<string, number>(addresses.map((address) => [address, 0]));
    const seconds = new Map<string, number>(addresses.map((address) => [address, 0]));
    const peers = addresses.map(peer);
    for (const image of images) {
      const [first, second] = byImage(peers, image, 0).map(({ address }) => address) as [string, string];
      counts.set(first, (counts.get(first) ?? 0) + 1);
      if (first === addresses[0]) seconds.set(second, (seconds.get(second) ?? 0) + 1);
    }
    // 1,000 each; five standard deviations are 150. Of the first one's images the others are the second choice 67 times each.
    for (const [address, count] of counts) expect(Math.abs(count - 1000), `${address}: ${count}`).toBeLessThan(150);
    for (const [address, count] of seconds) if (address !== addresses[0]) expect(count, address).toBeGreaterThan(25);
  });

  test("shares the images about evenly", () => {
    const counts = new Map<string, number>();
    for (const image of images)
      counts.set(chosen(three(), image) as string, (counts.get(chosen(three(), image) as string) ?? 0) + 1);
    for (const count of counts.values()) expect(count).toBeGreaterThan(60);
  });

  test("changes only for the images of one that goes", () => {
    for (const image of images) {
      const before = chosen(three(), image);
      const after = chosen(three().slice(0, 2), image);
      if (before !== "10.0.0.3:1") expect(after).toBe(before);
    }
  });

  test("is passed over while it carries far more than its share, or was not there a moment ago", () => {
    const peers = three();
    const own = byImage(peers, "a", 0)[0] as Peer<string>;
    own.inFlight = 20;
    expect(chosen(peers, "a")).not.toBe(own.address);
    own.inFlight = 2;
    expect(chosen(peers, "a")).toBe(own.address);
    own.avoidUntil = 10;
    expect(byImage(peers, "a", 9).at(-1)).toBe(own);
    expect(byImage(peers, "a", 11)[0]).toBe(own);
  });

  test("is, when none was there, the one that has had the longest to come back", () => {
    const peers = three();
    for (const [i, each] of peers.entries()) each.avoidUntil = 30 - i;
    for (const image of images) expect(byImage(peers, image, 0).map((each) => each.avoidUntil)).toEqual([28, 29, 30]);
  });
});

test("a call goes to the decoder with the fewest under way, and last to one that was not there", () => {
  const peers = three();
  for (const [i, p] of peers.entries()) p.inFlight = 3 - i;
  expect(byLoad(peers, 0).map((p) => p.inFlight)).toEqual([1, 2, 3]);
  (peers[2] as Peer<string>).avoidUntil = 5;
  expect(byLoad(peers, 0).map((p) => p.inFlight)).toEqual([2, 3, 1]);
});

describe("names", () => {
  class Client {
    closed = false;
    close() {
      this.closed = true;
    }
  }

  test("stand for all of their addresses, and are resolved again: new ones join, old ones go, a failure changes nothing", async () => {
    let answer: string[] | Error = ["10.0.0.1", "10.0.0.2"];
    const resolve = async (host: string) => {
      expect(host).toBe("encoders");
      if (answer instanceof Error) throw answer;
      return answer;
    };
    using peers = new Peers({
      list: "encoders:50051",
      connect: () => new Client(),
      service: "encoder",
      events,
      resolve,
    });
    const addresses = async () => (await peers.all()).map(({ address }) => address).sort();
    expect(await addresses()).toEqual(["10.0.0.1:50051", "10.0.0.2:50051"]);
    const kept = (await peers.all()).find(({ address }) => address === "10.0.0.2:50051");
    answer = ["10.0.0.2", "fd00::3"];
    await peers.refresh();
    expect(await addresses()).toEqual(["10.0.0.2:50051", "[fd00::3]:50051"]);
    expect((await peers.all()).find(({ address }) => address === "10.0.0.2:50051")).toBe(kept);
    answer = new Error("SERVFAIL");
    await peers.refresh();
    expect(await addresses()).toEqual(["10.0.0.2:50051", "[fd00::3]:50051"]);
  });

  test("addresses in a list are taken as they are", async () => {
    using peers = new Peers({ ...quiet, list: "127.0.0.1:1, [::1]:2", connect: () => new Client() });
    expect((await peers.all()).map(({ address }) => address)).toEqual(["127.0.0.1:1", "[::1]:2"]);
  });

  test("what is no address is refused at once", () => {
    expect(() => new Peers({ ...quiet, list: "nonsense", connect: () => new Client() })).toThrow(/host:port/);
  });
});

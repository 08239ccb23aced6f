// Sends every hostile HTTP input to a gateway of its own, beside a caller who asks on, and prints what happened as Markdown:
//
//     node lab/hostile/http.ts [part of a kind or name]
//
// The other caller asks for one small image's caption again and again; healthz is asked every 20 ms, so that its longest answer shows how
// long the gateway's thread was held up. Peak memory is the gateway's, as the kernel counted it during the input.

import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { annotateRaw } from "../../test/support/annotate.ts";
import { drawImage, startCluster } from "../../test/support/cluster.ts";
import { type Hostile, hostileInputs, type Target } from "../../test/support/hostile-http.ts";

const query = "task=caption&num_beams=1&max_new_tokens=8";
const MiB = 1024 * 1024;
const leastMs = 1_000;

await using cluster = await startCluster({ nats: false });
const url = cluster.urls[0] as string;
const pid = cluster.gateways[0]?.pid as number;
const image = await drawImage(4711);
const { image: answered } = await annotateRaw(url, image, query);
const target: Target = { host: "127.0.0.1", port: Number(new URL(url).port), image, id: answered.id };

const filter = process.argv[2] ?? "";
const nothing: Hostile = {
  kind: "none",
  what: "nothing, for comparison",
  send: () => sleep(5_000, "nothing"),
};
const chosen = hostileInputs.filter(({ kind, what }) => `${kind} ${what}`.includes(filter));
console.log(
  "| kind | input | answer | sent | each, ms | others answered | others p50 / p99 / most, ms | healthz most, ms | peak, MiB |",
);
console.log("| --- | --- | --- | --: | --: | --: | --: | --: | --: |");
for (const input of [nothing, ...chosen]) console.log(await rowOf(input));
console.error(`${(await fetch(`${url}/readyz`)).status} from /readyz at the end`);

async function rowOf({ kind, what, send }: Hostile): Promise<string> {
  forgetPeak();
  let going = true;
  const others = ask(() => annotateRaw(url, image, query).then(({ status }) => status));
  const probes = ask(async () => (await fetch(`${url}/healthz`)).status, 20);
  async function ask(once: () => Promise<number>, pauseMs = 5) {
    const times: number[] = [];
    const statuses = new Map<number | string, number>();
    do {
      const began = performance.now();
      const status = await once().catch(() => "lost");
      times.push(performance.now() - began);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      await sleep(pauseMs);
    } while (going);
    times.sort((a, b) => a - b);
    const at = (share: number) => Math.round(times[Math.floor(share * (times.length - 1))] as number);
    return { statuses, count: times.length, at };
  }
  const began = performance.now();
  let sent = 0;
  let answer: string;
  // Quick ones again and again, for long enough to see what the others notice.
  do {
    answer = await send(target).catch((error: unknown) => `the sender failed: ${error}`);
    sent++;
  } while (performance.now() - began < leastMs);
  const took = (performance.now() - began) / sent;
  going = false;
  const [caller, probe] = [await others, await probes];
  const good = caller.statuses.get(200) ?? 0;
  const cells = [
    kind,
    what,
    answer,
    sent,
    took.toFixed(0),
    `${good} of ${caller.count}`,
    `${caller.at(0.5)} / ${caller.at(0.99)} / ${caller.at(1)}`,
    probe.at(1),
    peakBytes() === undefined ? "?" : Math.round((peakBytes() as number) / MiB),
  ];
  return `| ${cells.join(" | ")} |`;
}

/** Makes the kernel count the peak anew, where there is one that does. */
function forgetPeak(): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
  } catch {
    // Then the peak is the one since the start.
  }
}

function peakBytes(): number | undefined {
  try {
    const kB = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kB === undefined ? undefined : Number(kB) * 1024;
  } catch {
    return undefined;
  }
}

import { randomBytes } from "node:crypto";
import { run } from "@florence/node";
import type { Command } from "commander";
import { readSettings } from "../config.ts";
import { UsageError } from "../failure.ts";
import { checkpointFolder } from "../hub.ts";
import { type Member, startTopology } from "../topology.ts";

interface DevFlags {
  readonly gateways: string;
  readonly encoders: string;
  readonly decoders: string;
  readonly nats?: true | string;
  readonly model?: string;
}

// More processes than this on one machine show nothing new.
const processesMax = 16;

export function configureDev(command: Command): void {
  command
    .option("--gateways <n>", "how many gateways", "1")
    .option("--encoders <n>", "how many encoders", "1")
    .option("--decoders <n>", "how many decoders", "1")
    .option("--nats [url]", "share embeddings through NATS: a server of its own, or the one at the address")
    .option("--model <folder>", "checkpoint or built folder, or a hub's owner/name (FLORENCE_MODEL)")
    .action(dev);
}

async function dev(flags: DevFlags): Promise<void> {
  const { model, gateway } = readSettings(flags.model ? { FLORENCE_MODEL: flags.model } : {});
  const counts = {
    gateways: count("--gateways", flags.gateways),
    encoders: count("--encoders", flags.encoders),
    decoders: count("--decoders", flags.decoders),
  };
  // Once, before every process looks for it.
  const checkpoint = model.model && (await checkpointFolder(model.model));
  await run(
    async () => {
      await using resources = new AsyncDisposableStack();
      // Other programs of this machine are not to write what the services read.
      const token = randomBytes(32).toString("base64url");
      const own = flags.nats === true;
      const nats = own ? resources.use(await ownNats(token)).url : flags.nats || undefined;
      const topology = resources.use(
        await startTopology({
          ...counts,
          model: checkpoint,
          cache: model.cache,
          nats,
          ...(own && { env: { FLORENCE_NATS_TOKEN: token } }),
          onLog: (name, text) => process.stderr.write(text.replace(/^(?=.)/gm, `${name}: `)),
        }),
      );
      const rows = [...topology.gateways, ...topology.encoders, ...topology.decoders];
      process.stdout.write(
        [
          ...rows.map(row),
          ...(nats ? [`nats        ${nats}`] : []),
          "",
          `curl -s ${topology.gateways[0]?.address}/readyz`,
          "",
        ].join("\n"),
      );
      return resources.move();
    },
    { drainMs: gateway.drainMs },
  );
}

async function ownNats(token: string) {
  const { findOrGetNatsServer, startNatsServer } = await import("@florence/nats-server");
  const binary = await findOrGetNatsServer();
  if (typeof binary !== "string") throw new UsageError(`There is no nats-server to start: ${binary.missing}`);
  return startNatsServer({ binary, auth: { token } });
}

function row({ name, address, pid }: Member): string {
  return `${name.padEnd(11)} ${address.padEnd(24)} pid ${pid}`;
}

function count(flag: string, value: string): number {
  const n = Number(value);
  if (!Number.isInteger(n) || n < 1 || n > processesMax)
    throw new UsageError(`${flag} must be a whole number from 1 to ${processesMax}, not ${value}.`);
  return n;
}

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { precisions } from "@florence/model/settings";
import { endGraceMs, run } from "@florence/node";
import { type Command, Option } from "commander";
import { addCheckpointFlags, type CheckpointFlags, checkpointVariables } from "../checkpoint-flags.ts";
import { quietUnlessAsked, readSettings } from "../config.ts";
import { loadModel } from "../model.ts";
import { type Role, roles, startStack } from "../stack.ts";

interface ServeFlags extends CheckpointFlags {
  readonly port?: string;
  readonly host?: string;
  readonly model?: string;
  readonly role: Role;
  readonly precision?: string;
  readonly cache?: string;
  readonly nats?: string;
  readonly encoders?: string;
  readonly decoders?: string;
  readonly allowUnverified?: boolean;
}

export function configureServe(command: Command): void {
  addCheckpointFlags(command)
    .option("--port <n>", "port of the HTTP server (PORT, 8080), or of the service that --role names")
    .option("--host <address>", "address to listen on; containers need 0.0.0.0")
    .option("--model <folder>", "checkpoint or built folder, or a hub's owner/name (FLORENCE_MODEL)")
    .addOption(new Option("--role <role>", "what to run").choices(roles).default("all"))
    .addOption(new Option("--precision <p>", "for a raw checkpoint (FLORENCE_PRECISION)").choices(precisions))
    .option("--cache <folder>", "where raw checkpoints are built into (FLORENCE_CACHE)")
    .option("--nats <url>", "NATS that keeps embeddings for all processes (FLORENCE_NATS)")
    .option("--encoders <list>", "a gateway's encoders: host:port, several, or a DNS name (FLORENCE_ENCODER)")
    .option("--decoders <list>", "a gateway's decoders (FLORENCE_DECODER)")
    .option("--allow-unverified", "serve a variant that failed its verification (FLORENCE_ALLOW_UNVERIFIED)")
    .addHelpText("after", "\nEvery setting is also an environment variable: see the services' README files.")
    .action(serve);
}

async function serve(flags: ServeFlags): Promise<void> {
  const settings = readSettings(overrides(flags));
  const { role } = flags;
  await run(
    async () => {
      const model = role === "gateway" ? undefined : await loadModel(settings.model);
      const stack = await startStack(role, settings, model);
      process.stdout.write(
        role === "all" && model
          ? greeting(stack.address, model.manifest.name)
          : `florence ${role} listens on ${stack.address}\n`,
      );
      return stack;
    },
    { drainMs: settings.gateway.drainMs + endGraceMs },
  );
}

/** The flags as the variables that they stand for. */
function overrides(flags: ServeFlags): Record<string, string> {
  const { port, host, model, role, precision, cache, nats, encoders, decoders, allowUnverified } = flags;
  const at = {
    all: ["PORT", "FLORENCE_HOST"],
    gateway: ["PORT", "FLORENCE_HOST"],
    encoder: ["FLORENCE_ENCODER_PORT", "FLORENCE_ENCODER_HOST"],
    decoder: ["FLORENCE_DECODER_PORT", "FLORENCE_DECODER_HOST"],
  }[role] as [string, string];
  return {
    // A person at a terminal wants the address and a line to paste, not a log.
    ...(role === "all" && quietUnlessAsked),
    ...(port !== undefined && { [at[0]]: port }),
    ...(host !== undefined && { [at[1]]: host }),
    ...(model !== undefined && { FLORENCE_MODEL: model }),
    ...checkpointVariables(flags),
    ...(precision !== undefined && { FLORENCE_PRECISION: precision }),
    ...(allowUnverified && { FLORENCE_ALLOW_UNVERIFIED: "true" }),
    ...(cache !== undefined && { FLORENCE_CACHE: cache }),
    ...(nats !== undefined && { FLORENCE_NATS: nats }),
    ...(encoders !== undefined && { FLORENCE_ENCODER: encoders }),
    ...(decoders !== undefined && { FLORENCE_DECODER: decoders }),
  };
}

function greeting(url: string, model: string): string {
  const demo = fileURLToPath(new URL("../../../../models/demo/shapes.png", import.meta.url));
  // The whole path, so that the line works in whatever folder it is pasted.
  const image = existsSync(demo) ? demo : "image.png";
  const shown = url.replace("127.0.0.1", "localhost");
  return [
    `Florence-2 (${model}) answers on ${shown}`,
    "",
    `curl -s --data-binary @${quoted(image)} -H 'content-type: image/png' '${shown}/v1/annotate?task=object_detection'`,
    "",
  ].join("\n");
}

function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { readSettings } from "./config.ts";
import { describe, UsageError } from "./failure.ts";

const usageExit = 2;

interface Listed {
  readonly about: string;
  /** Gives the command its arguments, options and action. */
  readonly configure: () => Promise<(command: Command) => void>;
}

/** Every command. Its file is loaded when it is asked for: most bring native modules, which neither --help nor a gateway needs. */
const commands: Readonly<Record<string, Listed>> = {
  serve: {
    about: "Serve a checkpoint over HTTP: the whole system in one process, or one of its services",
    configure: async () => (await import("./commands/serve.ts")).configureServe,
  },
  run: {
    about: "Answer tasks about images",
    configure: async () => (await import("./commands/run.ts")).configureRun,
  },
  pull: {
    about: "Fetch a checkpoint from Hugging Face's hub into its local cache, and print its folder",
    configure: async () => (await import("./commands/pull.ts")).configurePull,
  },
  info: {
    about: "Describe a checkpoint or a built folder",
    configure: async () => (await import("./commands/info.ts")).configureInfo,
  },
  build: {
    about: "Write a checkpoint's graphs and weights into a folder that can be served",
    configure: async () => (await import("./commands/build.ts")).configureBuild,
  },
  verify: {
    about: "Compare a built variant with fp32 of its checkpoint, and keep the figures in its manifest",
    configure: async () => (await import("./commands/verify.ts")).configureVerify,
  },
  cache: {
    about: "Look after the builds of raw checkpoints",
    configure: async () => (await import("./commands/cache.ts")).configureCache,
  },
  dev: {
    about: "Run the services as processes of their own on this machine, with NATS if asked for",
    configure: async () => (await import("./commands/dev.ts")).configureDev,
  },
};

async function createProgram(words: readonly string[]): Promise<Command> {
  const program = new Command("florence")
    .description("Serve and run Florence-2: caption, detect, ground, segment and read, by prompt")
    .version("0.1.0")
    .showHelpAfterError("(florence --help, or florence COMMAND --help, says more)")
    .exitOverride();
  const asked = words.find((word) => Object.hasOwn(commands, word));
  for (const [name, { about, configure }] of Object.entries(commands)) {
    const command = program.command(name).description(about);
    if (name === asked) (await configure())(command);
    command.exitOverride().showHelpAfterError("(--help says more)");
  }
  return program;
}

try {
  await (await createProgram(process.argv.slice(2))).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what is wrong, or printed the help that was asked for.
    process.exitCode = error.exitCode === 0 ? 0 : usageExit;
  } else {
    process.stderr.write(`florence: ${describe(error)}\n`);
    if (debugging()) console.error(error);
    process.exitCode = error instanceof UsageError ? usageExit : 1;
  }
}

function debugging(): boolean {
  try {
    return readSettings().cli.debug;
  } catch {
    return false; // the settings themselves are what is wrong
  }
}

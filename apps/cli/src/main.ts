#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { addBuild } from "./commands/build.ts";
import { addCache } from "./commands/cache.ts";
import { addDev } from "./commands/dev.ts";
import { addInfo } from "./commands/info.ts";
import { addPull } from "./commands/pull.ts";
import { addRun } from "./commands/run.ts";
import { addServe } from "./commands/serve.ts";
import { addVerify } from "./commands/verify.ts";
import { readSettings } from "./config.ts";
import { describe, UsageError } from "./failure.ts";

const usageExit = 2;

function createProgram(): Command {
  const program = new Command("florence")
    .description("Serve and run Florence-2: caption, detect, ground, segment and read, by prompt")
    .version("0.1.0")
    .showHelpAfterError("(florence --help, or florence COMMAND --help, says more)")
    .exitOverride();
  for (const add of [addServe, addRun, addPull, addInfo, addBuild, addVerify, addCache, addDev]) add(program);
  for (const command of program.commands) command.exitOverride().showHelpAfterError("(--help says more)");
  return program;
}

try {
  await createProgram().parseAsync();
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

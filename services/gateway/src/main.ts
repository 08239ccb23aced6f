#!/usr/bin/env node
// A gateway as a process of its own: settings, server. SIGTERM drains it.

import { createLogger, endGraceMs, environment, readEnvironments, run, runProgram } from "@florence/node";
import { gatewaySpecs } from "./config.ts";
import { startGateway } from "./node/gateway.ts";

await runProgram("florence gateway", async () => {
  const { gateway: config, cluster } = readEnvironments(environment, gatewaySpecs);
  const log = createLogger({ name: "gateway", level: config.logLevel });
  const start = async () => {
    const gateway = await startGateway(config, log, { cluster });
    process.stdout.write(`florence gateway listens on ${gateway.url}\n`);
    return gateway;
  };
  await run(start, { drainMs: config.drainMs + endGraceMs });
});

#!/usr/bin/env node
// A gateway as a process of its own: settings, server. SIGTERM drains it.

import { createLogger, endGraceMs, environment, readEnvironments, run, runProgram } from "@florence/node";
import { logFields, startTelemetry, telemetryConfig } from "@florence/telemetry";
import { gatewayConfig } from "./config.ts";
import { startGateway } from "./node/gateway.ts";

await runProgram("florence gateway", async () => {
  const { gateway: config, telemetry: told } = readEnvironments(environment, {
    gateway: gatewayConfig,
    telemetry: telemetryConfig,
  });
  const log = createLogger({ name: "gateway", level: config.logLevel, fields: logFields });
  const start = async () => {
    await using resources = new AsyncDisposableStack();
    const telemetry = resources.use(await startTelemetry(told, { service: "florence-gateway", log }));
    const { tracing, listeners } = telemetry;
    const gateway = resources.use(await startGateway(config, log, { tracing, listeners: listeners.gateway }));
    process.stdout.write(`florence gateway listens on ${gateway.url}\n`);
    return resources.move();
  };
  await run(start, { drainMs: config.drainMs + endGraceMs });
});

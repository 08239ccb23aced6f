#!/usr/bin/env node
// A gateway as a process of its own: settings, server. SIGTERM drains it.

import { createLogger, endGraceMs, environment, readEnvironments, run, runProgram } from "@florence/node";
import { logFields, startTelemetry, telemetryConfig } from "@florence/telemetry";
import { gatewaySpecs } from "./config.ts";
import { startGateway } from "./node/gateway.ts";

await runProgram("florence gateway", async () => {
  const settings = readEnvironments(environment, { ...gatewaySpecs, telemetry: telemetryConfig });
  const { gateway: config, cluster } = settings;
  const log = createLogger({ name: "gateway", level: config.logLevel, fields: logFields });
  const start = async () => {
    await using resources = new AsyncDisposableStack();
    const telemetry = await startTelemetry(settings.telemetry, { service: "florence-gateway", log });
    const { tracing, listeners } = resources.use(telemetry);
    const told = { tracing, listeners: listeners.gateway };
    const gateway = resources.use(await startGateway(config, log, { cluster, ...told }));
    process.stdout.write(`florence gateway listens on ${gateway.url}\n`);
    return resources.move();
  };
  await run(start, { drainMs: config.drainMs + endGraceMs });
});

#!/usr/bin/env node
// An encoder as a process of its own: settings, model, stores, server. SIGTERM drains it.

import { openServiceStores } from "@florence/embeddings/nats";
import { encodingOf, loadModel } from "@florence/model";
import { createLogger, endGraceMs, environment, Progress, readEnvironments, run, runProgram } from "@florence/node";
import { logFields, startTelemetry, telemetryConfig } from "@florence/telemetry";
import { encoderSpecs } from "./config.ts";
import { startEncoder } from "./encoder.ts";

await runProgram("florence encoder", async () => {
  const specs = { ...encoderSpecs, telemetry: telemetryConfig };
  const settings = readEnvironments(environment, specs);
  const { encoder: config, cluster, model: modelSettings, nats } = settings;
  const log = createLogger({ name: "encoder", level: config.logLevel, fields: logFields });
  const start = async () => {
    await using resources = new AsyncDisposableStack();
    const telemetry = await startTelemetry(settings.telemetry, { service: "florence-encoder", log });
    const { tracing, listeners } = resources.use(telemetry);
    const model = await loadModel(modelSettings, {
      progress: (name) => new Progress(`Building ${name}`).update,
      warn: (message) => log.warn(message),
    });
    const bounds = { ...config, embeddingBytes: encodingOf(model.manifest).bytes };
    const user = { role: "encoder", secret: cluster.secret, log, listeners: listeners.embeddings, tracing } as const;
    const stores = resources.use(await openServiceStores(nats, bounds, user));
    const told = { log, tracing, listeners: listeners.encoder };
    const { address } = resources.use(await startEncoder(config, { model, cluster, ...told, ...stores }));
    process.stdout.write(`florence encoder listens on ${address}\n`);
    return resources.move();
  };
  await run(start, { drainMs: config.drainMs + endGraceMs });
});

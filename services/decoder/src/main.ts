#!/usr/bin/env node
// A decoder as a process of its own: settings, model, stores, server. SIGTERM drains it.

import { embeddingEvents, logEmbeddings } from "@florence/embeddings";
import { openStores } from "@florence/embeddings/nats";
import { encodingOf, loadModel } from "@florence/model";
import { createLogger, endGraceMs, environment, Progress, readEnvironments, run, runProgram } from "@florence/node";
import { createEvents } from "@florence/service";
import { logFields, startTelemetry, telemetryConfig } from "@florence/telemetry";
import { decoderSpecs } from "./config.ts";
import { startDecoder } from "./decoder.ts";

await runProgram("florence decoder", async () => {
  const specs = { ...decoderSpecs, telemetry: telemetryConfig };
  const { decoder: config, model: modelSettings, nats, telemetry: told } = readEnvironments(environment, specs);
  const log = createLogger({ name: "decoder", level: config.logLevel, fields: logFields });
  const start = async () => {
    await using resources = new AsyncDisposableStack();
    const { tracing, listeners } = resources.use(await startTelemetry(told, { service: "florence-decoder", log }));
    const model = await loadModel(modelSettings, {
      progress: (name) => new Progress(`Building ${name}`).update,
      warn: (message) => log.warn(message),
    });
    const bounds = { ...config, embeddingBytes: encodingOf(model.manifest).bytes };
    const events = createEvents(embeddingEvents, [logEmbeddings(log), ...listeners.embeddings]);
    const stores = resources.use(await openStores(nats, bounds, events, tracing));
    const { address } = resources.use(
      await startDecoder(config, { model, log, tracing, listeners: listeners.decoder, ...stores }),
    );
    process.stdout.write(`florence decoder listens on ${address}\n`);
    return resources.move();
  };
  await run(start, { drainMs: config.drainMs + endGraceMs });
});

#!/usr/bin/env node
// An encoder as a process of its own: settings, model, stores, server. SIGTERM drains it.

import { embeddingEvents, logEmbeddings, Seal } from "@florence/embeddings";
import { openStores } from "@florence/embeddings/nats";
import { encodingOf, loadModel } from "@florence/model";
import { createLogger, endGraceMs, environment, Progress, readEnvironments, run, runProgram } from "@florence/node";
import { createEvents } from "@florence/service";
import { encoderSpecs } from "./config.ts";
import { startEncoder } from "./encoder.ts";

await runProgram("florence encoder", async () => {
  const { encoder: config, cluster, model: modelSettings, nats } = readEnvironments(environment, encoderSpecs);
  const log = createLogger({ name: "encoder", level: config.logLevel });
  const start = async () => {
    await using resources = new AsyncDisposableStack();
    const model = await loadModel(modelSettings, {
      progress: (name) => new Progress(`Building ${name}`).update,
      warn: (message) => log.warn(message),
    });
    const bounds = { ...config, embeddingBytes: encodingOf(model.manifest).bytes };
    const events = createEvents(embeddingEvents, [logEmbeddings(log)]);
    const user = { role: "encoder", seal: new Seal(cluster.secret), events } as const;
    const stores = resources.use(await openStores(nats, bounds, user));
    const { address } = resources.use(await startEncoder(config, { model, cluster, log, ...stores }));
    process.stdout.write(`florence encoder listens on ${address}\n`);
    return resources.move();
  };
  await run(start, { drainMs: config.drainMs + endGraceMs });
});

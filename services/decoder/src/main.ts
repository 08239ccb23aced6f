#!/usr/bin/env node
// A decoder as a process of its own: settings, model, stores, server. SIGTERM drains it.

import { embeddingEvents, logEmbeddings, Seal } from "@florence/embeddings";
import { openStores } from "@florence/embeddings/nats";
import { encodingOf, loadModel } from "@florence/model";
import { createLogger, endGraceMs, environment, Progress, readEnvironments, run, runProgram } from "@florence/node";
import { createEvents } from "@florence/service";
import { decoderSpecs } from "./config.ts";
import { startDecoder } from "./decoder.ts";

await runProgram("florence decoder", async () => {
  const { decoder: config, cluster, model: modelSettings, nats } = readEnvironments(environment, decoderSpecs);
  const log = createLogger({ name: "decoder", level: config.logLevel });
  const start = async () => {
    await using resources = new AsyncDisposableStack();
    const model = await loadModel(modelSettings, {
      progress: (name) => new Progress(`Building ${name}`).update,
      warn: (message) => log.warn(message),
    });
    const bounds = { ...config, embeddingBytes: encodingOf(model.manifest).bytes };
    const events = createEvents(embeddingEvents, [logEmbeddings(log)]);
    const user = { role: "decoder", seal: new Seal(cluster.secret), events } as const;
    const stores = resources.use(await openStores(nats, bounds, user));
    const { address } = resources.use(await startDecoder(config, { model, cluster, log, ...stores }));
    process.stdout.write(`florence decoder listens on ${address}\n`);
    return resources.move();
  };
  await run(start, { drainMs: config.drainMs + endGraceMs });
});

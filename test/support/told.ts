import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decoderConfig, startDecoder } from "@florence/decoder";
import { embeddingEvents, MemoryStore } from "@florence/embeddings";
import { encoderConfig, startEncoder } from "@florence/encoder";
import { gatewayConfig, startGateway } from "@florence/gateway";
import { prepareModel } from "@florence/model";
import { createLogger } from "@florence/node";
import { createEvents, readConfig } from "@florence/service";
import { logFields, startTelemetry, telemetryConfig } from "@florence/telemetry";
import { root } from "./services.ts";

/** All three services in this process with telemetry, whose metrics are read at `metricsUrl`. */
export interface ToldServices extends AsyncDisposable {
  readonly url: string;
  readonly metricsUrl: string;
  /** What was logged so far. */
  readonly log: () => string;
}

export async function startToldServices(env: Record<string, string> = {}): Promise<ToldServices> {
  await using resources = new AsyncDisposableStack();
  const cacheFolder = mkdtempSync(join(tmpdir(), "florence-told-"));
  resources.defer(() => rmSync(cacheFolder, { recursive: true, force: true }));
  const model = await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder });
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  const log = createLogger({ name: "florence", level: "debug", stream, fields: logFields });
  const told = readConfig({ FLORENCE_METRICS_PORT: "0", ...env }, telemetryConfig);
  const { tracing, listeners, metricsUrl } = resources.use(await startTelemetry(told, { service: "florence", log }));
  const settings = { FLORENCE_ENCODER_THREADS: "1", FLORENCE_DECODER_THREADS: "1", ...env };
  const events = createEvents(embeddingEvents, listeners.embeddings);
  const store = resources.use(new MemoryStore({ bytesMax: 64 * 1024 * 1024, ttlMs: 600_000, events }));
  const shared = { model, store, log, tracing };
  const encoder = resources.use(
    await startEncoder(readConfig(settings, encoderConfig), { ...shared, listeners: listeners.encoder }),
  );
  const decoder = resources.use(
    await startDecoder(readConfig(settings, decoderConfig), { ...shared, listeners: listeners.decoder }),
  );
  const addresses = { PORT: "0", FLORENCE_ENCODER: encoder.address, FLORENCE_DECODER: decoder.address };
  const gateway = resources.use(
    await startGateway(readConfig({ ...settings, ...addresses }, gatewayConfig), log, {
      tracing,
      listeners: listeners.gateway,
    }),
  );
  const running = resources.move();
  return {
    url: gateway.url,
    metricsUrl: metricsUrl as string,
    log: () => lines.join(""),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

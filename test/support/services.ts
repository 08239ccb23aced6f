import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { decoderConfig, startDecoder } from "@florence/decoder";
import { MemoryStore } from "@florence/embeddings";
import { encoderConfig, startEncoder } from "@florence/encoder";
import { gatewayConfig, startGateway } from "@florence/gateway";
import { createClient } from "@florence/grpc";
import { prepareModel } from "@florence/model";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { readConfig } from "@florence/service";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const fixture = (path: string): Buffer<ArrayBuffer> => readFileSync(join(root, "test/fixtures", path));

export interface TestServices extends AsyncDisposable {
  /** http://127.0.0.1:port of the gateway. */
  readonly url: string;
  /** Images that went through the vision graph since the start. */
  encodings(): Promise<number>;
  /** Sequences and KV bytes that the decoder holds now. */
  usage(): Promise<{ sequences: number; kvBytes: number }>;
}

/** All three services in this process, over real gRPC and HTTP on loopback, with one store: what `npm start` runs. */
export async function startServices(modelFolder: string, env: Record<string, string> = {}): Promise<TestServices> {
  await using resources = new AsyncDisposableStack();
  const cacheFolder = mkdtempSync(join(tmpdir(), "florence-test-"));
  resources.defer(() => rmSync(cacheFolder, { recursive: true, force: true }));
  const model = await prepareModel(resolve(root, modelFolder), { cacheFolder });
  const settings = { FLORENCE_LOG_LEVEL: "fatal", ...env };
  const store = resources.use(new MemoryStore({ bytesMax: 64 * 1024 * 1024, ttlMs: 600_000 }));
  const encoder = resources.use(await startEncoder(readConfig(settings, encoderConfig), { model, store }));
  const decoder = resources.use(await startDecoder(readConfig(settings, decoderConfig), { model, store }));
  const addresses = { PORT: "0", FLORENCE_ENCODER: encoder.address, FLORENCE_DECODER: decoder.address };
  const gateway = resources.use(await startGateway(readConfig({ ...settings, ...addresses }, gatewayConfig)));
  const encoderClient = resources.use(createClient(Encoder, encoder.address));
  resources.use(createClient(Decoder, decoder.address));
  const running = resources.move();
  return {
    url: gateway.url,
    encodings: async () => Number((await encoderClient.getEncoderModel({})).imagesEncoded),
    usage: () => decoder.usage(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

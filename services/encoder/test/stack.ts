import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createClient } from "@florence/grpc";
import { type BuiltModel, type Precision, prepareModel } from "@florence/model";
import { Encoder } from "@florence/proto/encoder";
import { Health } from "@florence/proto/health";
import { readConfig } from "@florence/service";
import sharp from "sharp";
import { type EncoderOptions, encoderConfig, startEncoder } from "../src/encoder.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** A checkpoint built into a temporary folder, which disposal removes. */
export async function buildModel(
  checkpoint = "models/florence-2-drawn",
  precision: Precision = "fp32",
): Promise<AsyncDisposable & { model: BuiltModel }> {
  const cacheFolder = mkdtempSync(join(tmpdir(), "florence-encoder-"));
  return {
    model: await prepareModel(join(root, checkpoint), { cacheFolder, precision }),
    [Symbol.asyncDispose]: async () => rmSync(cacheFolder, { recursive: true, force: true }),
  };
}

/** An encoder with clients of its services, over real sockets. */
export async function startStack(
  options: Omit<EncoderOptions, "log">,
  env: Readonly<Record<string, string | undefined>> = {},
) {
  await using resources = new AsyncDisposableStack();
  const config = readConfig({ FLORENCE_LOG_LEVEL: "silent", ...env }, encoderConfig);
  const encoder = resources.use(await startEncoder(config, options));
  const client = resources.use(createClient(Encoder, encoder.address));
  const health = resources.use(createClient(Health, encoder.address));
  const running = resources.move();
  return {
    encoder,
    client,
    health,
    /** Images that went through the model so far. */
    encoded: async () => Number((await client.getEncoderModel({})).imagesEncoded),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** A file of the fixtures. */
export function fixture(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(root, "test/fixtures", path)));
}

/** An image of one colour; equal colours and sizes give equal pixels. */
export async function plain(colour: number, width = 64, height = 48): Promise<Uint8Array<ArrayBuffer>> {
  const background = { r: colour & 255, g: (colour >> 8) & 255, b: (colour >> 16) & 255 };
  return new Uint8Array(
    await sharp({ create: { width, height, channels: 3, background } })
      .png()
      .toBuffer(),
  );
}

/** An image that takes some 100 ms to decode, so that calls which follow at once find it under way. */
export const large = () => plain(0x336699, 5000, 4000);

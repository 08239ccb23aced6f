import { natsConfig } from "@florence/embeddings/settings";
import { clusterConfig } from "@florence/grpc/settings";
import { modelConfig } from "@florence/model/settings";
import { type Config, hostAndPort, integer, logLevels, oneOf, text } from "@florence/service";

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

/** The encoder's own variables. */
export const encoderConfig = {
  host: text({
    variable: "FLORENCE_ENCODER_HOST",
    help: "Address to listen on; a container needs 0.0.0.0.",
    default: "127.0.0.1",
  }),
  port: integer({
    variable: "FLORENCE_ENCODER_PORT",
    help: "Port of the gRPC server; 0 picks a free one.",
    default: 0,
    min: 0,
    max: 65535,
  }),
  advertise: hostAndPort({
    default: undefined,
    help: "host:port under which decoders reach this encoder. Unset: the address listened on, or the machine's own.",
  }),
  // Another program that shares the cores does better with fewer; a container's quota is not seen by itself.
  threads: integer({
    variable: "FLORENCE_ENCODER_THREADS",
    help: "Cores that one model run may use; 0 shares all among the workers.",
    default: 0,
    min: 0,
    max: 1024,
  }),
  // One run fills the cores. Each further worker holds the vision weights once more.
  workers: integer({
    variable: "FLORENCE_ENCODER_WORKERS",
    help: "Threads that run the model, each with a copy of it.",
    default: 1,
    min: 1,
    max: 64,
  }),
  // Many cores gain from a batch. On two it takes as long as its images one by one (23 ms each with the drawn
  // checkpoint, at 1 and at 4), so a larger one only makes the first of them wait.
  batchMax: integer({
    variable: "FLORENCE_ENCODER_BATCH_MAX",
    help: "Images encoded in one run.",
    default: 4,
    min: 1,
    max: 256,
  }),
  // Four images of base and two of large, by the estimate in batch-size.ts.
  batchBytesMax: integer({
    variable: "FLORENCE_ENCODER_BATCH_BYTES_MAX",
    help: "Bytes of activations that one run may take; one image is always run.",
    default: 2 * GiB,
    min: 1,
    max: 1024 * GiB,
  }),
  // One opens images while the other is busy with a large one, or is being replaced because its image killed it. Each takes some 90 MB,
  // and while it decodes what image-limits.ts says: at most 850 MB for one of them, 380 MB for each other.
  imageWorkers: integer({
    variable: "FLORENCE_ENCODER_IMAGE_WORKERS",
    help: "Processes that open images, each one at a time.",
    default: 2,
    min: 1,
    max: 64,
  }),
  // A batch under way, the next one, and as many images again being decoded.
  imagesMax: integer({
    variable: "FLORENCE_ENCODER_IMAGES_MAX",
    help: "Different images decoded and encoded at one time.",
    default: 16,
    min: 1,
    max: 65536,
  }),
  // About a second each on a CPU: further ones would wait past the usual deadline of 60 s. Each holds its file.
  queueMax: integer({
    variable: "FLORENCE_ENCODER_QUEUE_MAX",
    help: "Images that may wait for one of those places.",
    default: 48,
    min: 0,
    max: 65536,
  }),
  // 8 MB, or 32 where every file gave rise to every warning, and many times the embeddings that the store holds.
  aliasesMax: integer({
    variable: "FLORENCE_ENCODER_ALIASES_MAX",
    help: "Files whose pixels' digest is remembered.",
    default: 16_384,
    min: 1,
    max: 1e7,
  }),
  // 290 embeddings of base. The least still holds one of any known checkpoint.
  storeBytesMax: integer({
    variable: "FLORENCE_ENCODER_STORE_BYTES_MAX",
    help: "Bytes of embeddings kept in memory.",
    default: 512 * MiB,
    min: 16 * MiB,
    max: 1024 * GiB,
  }),
  // A person's session with an image; its id is good for as long.
  storeTtlMs: integer({
    variable: "FLORENCE_STORE_TTL_MS",
    help: "How long an embedding is kept, milliseconds.",
    default: 3_600_000,
    min: 1000,
    max: 30 * 86_400_000,
  }),
  // A 24-megapixel JPEG is about 10 MiB.
  uploadBytesMax: integer({ help: "Largest image file, bytes.", default: 16 * MiB, min: 1, max: 1024 ** 3 }),
  // 150 MB decoded, and more than nearly all cameras make. Of more than 16 megapixels one is decoded at a time.
  pixelsMax: integer({ help: "Largest image, width times height.", default: 50_000_000, min: 1, max: 1e9 }),
  // Longer than a queue's worth of runs, shorter than an orchestrator's patience with a margin for the rest.
  drainMs: integer({
    help: "How long calls may go on after a stop began, milliseconds.",
    default: 30_000,
    min: 0,
    max: 3_600_000,
  }),
  logLevel: oneOf(logLevels, { help: "Least severe lines that are logged.", default: "info" }),
};

/** Every variable that an encoder's process reads. */
export const encoderSpecs = { encoder: encoderConfig, cluster: clusterConfig, model: modelConfig, nats: natsConfig };

export type EncoderConfig = Config<typeof encoderConfig>;

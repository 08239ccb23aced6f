// Every metric, span, span event and attribute of ours, once. docs/metrics.md is written from this file, dashboards and alerts are checked
// against it, and a test compares it with what is exported.

import { tasks } from "@florence/model/tasks";
import { type FaultCode, faultTable, isFaultCode } from "@florence/service";
import { counter, gauge, histogram } from "./define.ts";

export type { MetricSpec } from "./define.ts";

// From a lookup in memory to the deadline of a call.
const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
// A token takes from half a millisecond (the toy checkpoint) to a fifth of a second (large on few cores).
const tokenSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];
const batchSizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64];

/** What stands for every value that a label does not list. */
export const other = "other";

const task = [...tasks.map(({ name }) => name), other];
const code = [...Object.keys(faultTable).filter((name): name is FaultCode => isFaultCode(name)), other];
const tier = ["memory", "nats"] as const;

/** The paths of the gateway's routes. */
export const routes = [
  "/",
  "/v1/annotate",
  "/v1/images",
  "/v1/tasks",
  "/v1/models",
  "/healthz",
  "/readyz",
  other,
] as const;

/** The methods that servers of ours answer. */
export const rpcMethods = [
  "florence.v1.Encoder.Encode",
  "florence.v1.Encoder.GetEmbedding",
  "florence.v1.Encoder.GetEncoderModel",
  "florence.v1.Decoder.Generate",
  "florence.v1.Decoder.GetDecoderModel",
  "grpc.health.v1.Health.Check",
  "grpc.health.v1.Health.Watch",
  other,
] as const;

/** The metrics that are recorded when something happens. A name says the unit; `_total` is of counters. */
export const metrics = {
  // Gateway
  requestSeconds: histogram("florence_request_duration_seconds", {
    unit: "s",
    labels: { route: routes, status: ["2xx", "3xx", "4xx", "5xx", "aborted"] },
    buckets: seconds,
    help: "From a request's head to its answer's last byte, by the first digit of its status; aborted where the client left before an answer.",
  }),
  requestsRunning: gauge("florence_requests_running", { unit: "1", help: "Requests that are being served." }),
  refusals: counter("florence_refusals_total", {
    unit: "1",
    labels: { code },
    help: "Requests answered with a fault of the whole call, by its code.",
  }),
  gatewayWait: histogram("florence_gateway_queue_wait_seconds", {
    unit: "s",
    buckets: seconds,
    help: "How long a request waited for a place among those served.",
  }),
  imageBytes: counter("florence_image_bytes_total", {
    unit: "By",
    labels: { source: ["body", "url"] },
    help: "Bytes of image files, by how they came.",
  }),
  imageFetchSeconds: histogram("florence_image_fetch_seconds", {
    unit: "s",
    buckets: seconds,
    help: "Fetching an image by its URL.",
  }),
  tasks: counter("florence_tasks_total", {
    unit: "1",
    labels: { task, result: ["answered", "failed"] },
    help: "Tasks that ended, with an answer or without.",
  }),
  retries: counter("florence_retries_total", {
    unit: "1",
    labels: { service: ["encoder", "decoder"] },
    help: "Second tries of calls to a service.",
  }),
  reencodings: counter("florence_reencodings_total", {
    unit: "1",
    help: "Images encoded again because their embedding was gone before their tasks were done.",
  }),
  firstTokenSeconds: histogram("florence_time_to_first_token_seconds", {
    unit: "s",
    buckets: seconds,
    help: "From a request's head to the first token of its answer; streamed answers only.",
  }),
  peers: gauge("florence_peers", {
    unit: "1",
    labels: { service: ["encoder", "decoder"] },
    help: "Processes of a service that the gateway knows.",
  }),
  peersAvoided: counter("florence_peers_avoided_total", {
    unit: "1",
    labels: { service: ["encoder", "decoder"] },
    help: "How often a peer did not answer and came last for a while.",
  }),

  // Encoder
  images: counter("florence_images_total", {
    unit: "1",
    labels: { result: ["hit", "miss", "coalesced"], tier: [...tier, "none"] },
    help: "Images answered by an encoder: found (and in which tier), encoded for the call, or encoded for another call that it joined.",
  }),
  encodingsSaved: counter("florence_encodings_saved_total", {
    unit: "1",
    help: "Images whose embedding was there or being made for another call: runs of the vision graph that were not needed.",
  }),
  encodeSeconds: histogram("florence_encode_seconds", {
    unit: "s",
    buckets: seconds,
    help: "What an image that was encoded cost: decoding, resizing and its run of the vision graph. Its mean is what each one saved is worth.",
  }),
  imageDecodeSeconds: histogram("florence_image_decode_seconds", {
    unit: "s",
    buckets: seconds,
    help: "Decoding, orienting, hashing and resizing an image.",
  }),
  encoderWait: histogram("florence_encoder_queue_wait_seconds", {
    unit: "s",
    labels: { queue: ["admission", "vision"] },
    buckets: seconds,
    help: "How long an image waited: for a place among those decoded and encoded, and for the vision graph.",
  }),
  imagesWaiting: gauge("florence_encoder_images_waiting", {
    unit: "1",
    labels: { queue: ["admission", "vision"] },
    help: "Images that wait now, by what for.",
  }),
  // Decoder
  decoderWait: histogram("florence_decoder_queue_wait_seconds", {
    unit: "s",
    labels: { queue: ["admission", "batch"] },
    buckets: seconds,
    help: "How long a call waited for a place among those scheduled, and a task for room in the batch.",
  }),
  callsWaiting: gauge("florence_decoder_calls_waiting", {
    unit: "1",
    help: "Calls that wait now for a place among those scheduled.",
  }),
  embeddingsObtained: counter("florence_embeddings_obtained_total", {
    unit: "1",
    labels: { source: [...tier, "holder", "nobody"] },
    help: "Embeddings that a decoder needed, by where it found them.",
  }),
  promptTokens: counter("florence_prompt_tokens_total", {
    unit: "1",
    labels: { task },
    help: "Tokens of prompts whose sequences joined the batch.",
  }),
  outputTokens: counter("florence_output_tokens_total", {
    unit: "1",
    labels: { task },
    help: "Tokens generated.",
  }),
  promptSeconds: histogram("florence_prompt_seconds", {
    unit: "s",
    buckets: seconds,
    help: "One run of the prompt graph.",
  }),
  promptSlots: counter("florence_prompt_batch_tokens_total", {
    unit: "1",
    labels: { kind: ["prompt", "padding"] },
    help: "Tokens that the prompt graph ran on: those of prompts, and those that made them equally long.",
  }),
  decodeSeconds: histogram("florence_decode_seconds", {
    unit: "s",
    labels: { task },
    buckets: seconds,
    help: "From a task's place in the batch to the last token of its answer.",
  }),
  tokenTime: histogram("florence_time_per_output_token_seconds", {
    unit: "s",
    buckets: tokenSeconds,
    help: "A task's decoding time over the tokens of its answer.",
  }),
  sequences: gauge("florence_decoder_sequences", { unit: "1", help: "Sequences in the decode batch." }),
  kvSlots: gauge("florence_decoder_kv_slots_used", {
    unit: "1",
    help: "Rows of the KV pool that are taken: one for each beam of a sequence.",
  }),
  kvSlotsMax: gauge("florence_decoder_kv_slots", { unit: "1", help: "Rows that the KV pool has." }),
  kvBytes: gauge("florence_decoder_kv_bytes", { unit: "By", help: "Bytes of attention keys and values held." }),
  abandoned: counter("florence_tasks_abandoned_total", {
    unit: "1",
    labels: { code },
    help: "Tasks of a decoder that ended without an answer: their caller left, or their worker fell.",
  }),

  // Both halves
  batchSize: histogram("florence_batch_size", {
    unit: "1",
    labels: { graph: ["vision", "prompt"] },
    buckets: batchSizes,
    help: "Images or prompts in one run of a graph. The count is the number of runs, the sum of what was run on.",
  }),
  visionSeconds: histogram("florence_vision_seconds", {
    unit: "s",
    buckets: seconds,
    help: "One run of the vision graph.",
  }),
  modelLoad: gauge("florence_model_load_seconds", {
    unit: "s",
    labels: { worker: ["image", "vision", "decode", other] },
    help: "How long a worker took from its start until it took calls; loading its graphs is nearly all of it.",
  }),
  workerCrashes: counter("florence_worker_crashes_total", {
    unit: "1",
    labels: { worker: ["image", "vision", "decode", other] },
    help: "Workers that fell, or could not be started again.",
  }),
  rpcSeconds: histogram("florence_rpc_duration_seconds", {
    unit: "s",
    labels: { method: rpcMethods, code: ["ok", ...code] },
    buckets: seconds,
    help: "A call of a gRPC server, from its arrival to the end of its stream, by how it ended.",
  }),

  // Stores
  lookups: counter("florence_embedding_lookups_total", {
    unit: "1",
    labels: { tier: [...tier, "holder"], result: ["hit", "miss", "timeout", "unavailable", "corrupt", "untrusted"] },
    help: "Embeddings asked for, by tier. A read that NATS did not answer in time counts as such and not as a miss; a value that did not verify counts as both. Untrusted is a holder whose address nobody vouches for.",
  }),
  storedBytes: counter("florence_embedding_stored_bytes_total", {
    unit: "By",
    labels: { tier },
    help: "Bytes of embeddings that a store took.",
  }),
  evictions: counter("florence_embedding_evictions_total", {
    unit: "1",
    labels: { reason: ["room", "age"] },
    help: "Embeddings that the store in memory forgot.",
  }),
  aliases: counter("florence_alias_lookups_total", {
    unit: "1",
    labels: { result: ["hit", "miss"] },
    help: "Files that NATS was asked about before they were decoded.",
  }),
  natsBytes: counter("florence_nats_bytes_total", {
    unit: "By",
    labels: { direction: ["read", "written"] },
    help: "Bytes of values read from NATS and written to it.",
  }),
  natsSeconds: histogram("florence_nats_operation_seconds", {
    unit: "s",
    labels: { operation: ["get", "put"] },
    buckets: seconds,
    help: "One answered operation on a bucket.",
  }),
  natsWrites: counter("florence_nats_writes_total", {
    unit: "1",
    labels: { result: ["written", "dropped", "failed"] },
    help: "Values written behind, by what became of them.",
  }),
  natsConnections: gauge("florence_nats_connected", {
    unit: "1",
    help: "1 while the connection to NATS stands, 0 while it does not; absent without NATS.",
  }),
  breakers: counter("florence_nats_breaker_opened_total", {
    unit: "1",
    help: "How often a bucket was found out of reach.",
  }),
  leases: counter("florence_leases_total", {
    unit: "1",
    labels: { result: ["acquired", "taken_over", "held", "unavailable", "lost"] },
    help: "Leases on images: taken, taken over from one whose time had run out, held by another, not to be had, and lost.",
  }),
  leaseWait: histogram("florence_lease_wait_seconds", {
    unit: "s",
    labels: { ended: ["appeared", "released", "expired", "budget", "unavailable"] },
    buckets: seconds,
    help: "How long another encoder's lease was waited for, by how the wait ended.",
  }),
} as const;

/** Those that are read whenever metrics are collected, and not recorded when something happens. */
export const processMetrics = {
  eventLoopDelay: gauge("florence_event_loop_delay_seconds", {
    unit: "s",
    labels: { quantile: ["p50", "p99", "max"] },
    help: "How late the event loop was since the last reading.",
  }),
  residentBytes: gauge("florence_process_resident_bytes", { unit: "By", help: "Memory of the process." }),
  cpuSeconds: counter("florence_process_cpu_seconds_total", { unit: "s", help: "Processor time of the process." }),
} as const;

export type Metrics = typeof metrics;

/** The spans of ours beside those of HTTP and gRPC, whose names are the method's. */
export const spans = {
  admission: { name: "florence.admission", help: "Waiting for a place among the calls that are served." },
  read: { name: "florence.request.read", help: "Receiving a request's body and checking it." },
  fetch: { name: "florence.image.fetch", help: "Fetching an image by its URL." },
  imageDecode: { name: "florence.image.decode", help: "Decoding, orienting, hashing and resizing an image." },
  lookup: { name: "florence.embedding.lookup", help: "Looking for an embedding in a store." },
  encodingWait: {
    name: "florence.encoding.wait",
    help: "Waiting for an encoding that another call has begun; linked to the span of that call.",
  },
  encodeQueue: { name: "florence.encode.queue", help: "Waiting for the vision graph." },
  encode: { name: "florence.encode", help: "An image's part of a run of the vision graph; linked to the run." },
  visionBatch: {
    name: "florence.vision.batch",
    help: "One run of the vision graph; linked to every call that has an image in it.",
  },
  embeddingGet: { name: "florence.embedding.get", help: "A decoder's search for an embedding." },
  promptBatch: {
    name: "florence.prompt.batch",
    help: "One run of the prompt graph; linked to every call that has a prompt in it.",
  },
  decodeQueue: { name: "florence.decode.queue", help: "A task's wait for room in the decode batch." },
  prompt: { name: "florence.prompt", help: "A task's part of a run of the prompt graph." },
  decode: { name: "florence.decode", help: "A task's answer, token by token." },
  parse: { name: "florence.answer.parse", help: "Reading an answer's text as regions." },
  natsGet: { name: "get {bucket}", help: "Reading a value from a bucket in NATS; linked to the span that wrote it." },
  natsPut: { name: "put {bucket}", help: "Writing a value to a bucket in NATS." },
} as const;

/** What happens within a span. */
export const spanEvents = {
  firstToken: { name: "florence.first_token", help: "The first token of an answer; streamed answers only." },
  regionClosed: { name: "florence.region_closed", help: "A region of a streamed answer is complete." },
} as const;

/** All attributes of spans and links. Those without the prefix are OpenTelemetry's semantic conventions. */
export const attributes = {
  httpMethod: { name: "http.request.method", help: "The request's method." },
  httpRoute: { name: "http.route", help: "The route, not the path: an unknown path is not told." },
  httpStatus: { name: "http.response.status_code", help: "The answer's status." },
  errorType: { name: "error.type", help: "The code of a fault." },
  rpcSystem: { name: "rpc.system", help: "grpc." },
  rpcService: { name: "rpc.service", help: "The service's full name." },
  rpcMethod: { name: "rpc.method", help: "The method's name." },
  rpcStatus: { name: "rpc.grpc.status_code", help: "The status of a call that a server refused or failed." },
  serverAddress: { name: "server.address", help: "The host that a call goes to." },
  serverPort: { name: "server.port", help: "Its port." },
  messagingSystem: { name: "messaging.system", help: "nats." },
  messagingDestination: { name: "messaging.destination.name", help: "The bucket." },
  messagingOperation: { name: "messaging.operation.name", help: "get or put." },
  messagingBytes: { name: "messaging.message.body.size", help: "Bytes of the value." },
  genAiOperation: { name: "gen_ai.operation.name", help: "generate_content." },
  genAiModel: { name: "gen_ai.response.model", help: "The checkpoint's name." },
  genAiInputTokens: { name: "gen_ai.usage.input_tokens", help: "Tokens of the prompt." },
  genAiOutputTokens: { name: "gen_ai.usage.output_tokens", help: "Tokens of the answer." },
  genAiFinishReasons: { name: "gen_ai.response.finish_reasons", help: "stop or length." },
  requestId: { name: "florence.request.id", help: "The request's id, as in its answer's head and in the log." },
  task: { name: "florence.task", help: "The task's name." },
  index: { name: "florence.task.index", help: "The task's place in its call." },
  tasks: { name: "florence.tasks", help: "How many tasks a call has." },
  tier: { name: "florence.tier", help: "Where an embedding was looked for or found: memory, nats or holder." },
  result: { name: "florence.result", help: "hit, miss or coalesced." },
  by: { name: "florence.wait.by", help: "What two calls had in common: file, pixels or lease." },
  ended: { name: "florence.wait.ended", help: "How a wait for another encoder's lease ended." },
  batchSize: { name: "florence.batch.size", help: "Images or prompts in one run of a graph." },
  width: { name: "florence.image.width", help: "Pixels." },
  height: { name: "florence.image.height", help: "Pixels." },
  imageBytes: { name: "florence.image.bytes", help: "Bytes of an image file." },
} as const;

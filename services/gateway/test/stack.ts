import { implement, type RunningServer, startServer } from "@florence/grpc";
import { findTask } from "@florence/model/tasks";
import { createLogger } from "@florence/node";
import { Decoder, FinishReason, type GenerateRequest, RegionShape } from "@florence/proto/decoder";
import { CacheResult, CacheTier, type EncodeRequest, Encoder } from "@florence/proto/encoder";
import { type Handlers, readConfig } from "@florence/service";
import { type GatewayOptions, gatewayConfig, startGateway } from "../src/node/gateway.ts";

export type EncoderScript = Partial<Handlers<typeof Encoder>>;
export type DecoderScript = Partial<Handlers<typeof Decoder>>;

export const digest = "d1".repeat(32);
const model = { name: "scripted", digest, precision: "fp32", imageSize: 64, numBeams: 1, newTokensMax: 1024 };

/** What a decoder says about a task: a box for tasks that answer with regions, the task's input for the others. */
export function resultOf(name: string, input: string) {
  const isText = findTask(name).answer === "pure_text";
  return {
    text: `</s><s>${name}</s>`,
    answerText: isText ? `${name}:${input}` : "",
    regions: isText
      ? []
      : [{ shape: RegionShape.BOX, label: "cat", rings: [{ coordinates: [1, 2, 3, 4] }], score: 0.5 }],
    ids: [2, 0, 7, 2],
    promptIds: [0, 5, 2],
    tokenLogProbs: [0, -0.5, 0],
    score: -0.25,
    finishReason: FinishReason.STOP,
    queueMs: 1,
    promptMs: 2,
    decodeMs: 3,
  };
}

/** What to start. Several scripts of a kind make several servers; each takes from the default what it does not say. */
export interface StackScript {
  readonly encoder?: EncoderScript | readonly EncoderScript[];
  readonly decoder?: DecoderScript | readonly DecoderScript[];
  readonly env?: Record<string, string>;
  /** The gateway's variables from the servers' addresses, where they are not simply listed. */
  readonly addresses?: (
    encoders: readonly RunningServer[],
    decoders: readonly RunningServer[],
  ) => Record<string, string>;
  readonly resolve?: (host: string) => Promise<string[]>;
  readonly listeners?: GatewayOptions["listeners"];
}

const defaultEncoder: Handlers<typeof Encoder> = {
  encode: async () => ({
    key: `${digest}.key`,
    width: 200,
    height: 100,
    cacheResult: CacheResult.MISS,
    cacheTier: CacheTier.NONE,
    holder: "127.0.0.1:1",
    expiresAtMs: BigInt(Date.now() + 3_600_000),
    encodeMs: 5,
  }),
  getEmbedding: async () => ({}),
  getEncoderModel: async () => ({ model }),
};

const defaultDecoder: Handlers<typeof Decoder> = {
  async *generate(request) {
    for (const [taskIndex, { name, input }] of request.tasks.entries()) {
      const result = resultOf(name, input);
      if (request.stream) {
        yield { taskIndex, event: { case: "started", value: { promptTokens: 3 } } };
        yield { taskIndex, event: { case: "token", value: { id: 7, text: name, logProb: -0.5 } } };
        for (const region of result.regions) yield { taskIndex, event: { case: "region", value: region } };
      }
      yield { taskIndex, event: { case: "result", value: result } };
    }
  },
  getDecoderModel: async () => ({ model }),
};

/** Real gRPC servers that follow a script, and a real gateway in front of them, all on free ports. */
export async function startStack(script: StackScript = {}) {
  const encodes: EncodeRequest[] = [];
  const generates: GenerateRequest[] = [];
  /** Which server got each of these calls. */
  const encodedBy: number[] = [];
  const generatedBy: number[] = [];
  await using resources = new AsyncDisposableStack();
  const serve = { host: "127.0.0.1", port: 0, drainMs: 100 };
  const encoders: RunningServer[] = [];
  const decoders: RunningServer[] = [];
  for (const [i, own] of [script.encoder ?? {}].flat().entries()) {
    const handlers = { ...defaultEncoder, ...own };
    const encode: typeof handlers.encode = (request, context) => {
      encodes.push(request);
      encodedBy.push(i);
      return handlers.encode(request, context);
    };
    const services = [implement(Encoder, { ...handlers, encode })];
    encoders.push(resources.use(await startServer({ ...serve, services })));
  }
  for (const [i, own] of [script.decoder ?? {}].flat().entries()) {
    const handlers = { ...defaultDecoder, ...own };
    const generate: typeof handlers.generate = (request, context) => {
      generates.push(request);
      generatedBy.push(i);
      return handlers.generate(request, context);
    };
    const services = [implement(Decoder, { ...handlers, generate })];
    decoders.push(resources.use(await startServer({ ...serve, services })));
  }
  const list = (servers: readonly RunningServer[]) => servers.map(({ address }) => address).join(",");
  const config = readConfig(
    {
      PORT: "0",
      FLORENCE_ENCODER: list(encoders),
      FLORENCE_DECODER: list(decoders),
      FLORENCE_DRAIN_MS: "500",
      ...script.addresses?.(encoders, decoders),
      ...script.env,
    },
    gatewayConfig,
  );
  const log = createLogger({ name: "test", level: "silent" });
  const gateway = resources.use(
    await startGateway(config, log, {
      ...(script.resolve && { resolve: script.resolve }),
      ...(script.listeners && { listeners: script.listeners }),
    }),
  );
  const running = resources.move();
  const url = `http://127.0.0.1:${gateway.port}`;
  return {
    url,
    port: gateway.port,
    encodes,
    generates,
    encodedBy,
    generatedBy,
    encoders,
    decoders,
    get: (path: string) => fetch(url + path),
    json: (body: unknown, path = "/v1/annotate", init: RequestInit = {}) =>
      fetch(url + path, {
        method: "POST",
        body: JSON.stringify(body),
        ...init,
        headers: { "content-type": "application/json", ...init.headers },
      }),
    raw: (query: string, body: string | Uint8Array<ArrayBuffer> = image, type = "image/png") =>
      fetch(`${url}/v1/annotate?${query}`, { method: "POST", headers: { "content-type": type }, body }),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Bytes that stand for an image: scripted encoders do not look at them. */
export const image = new Uint8Array([1, 2, 3, 4]);
export const data = Buffer.from(image).toString("base64");

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  instance: string;
}

/** The problem of a refused call, after checking that it is one. */
export async function problemOf(response: Response): Promise<Problem> {
  const body = (await response.json()) as Problem;
  if (response.headers.get("content-type") !== "application/problem+json" || body.status !== response.status) {
    throw new Error(`Not a problem document: ${response.status} ${JSON.stringify(body)}`);
  }
  return body;
}

// biome-ignore lint/suspicious/noExplicitAny: tests read answers as a client without types would.
export type Json = any;

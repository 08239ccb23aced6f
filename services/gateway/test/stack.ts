import { findTask } from "@florence/model/tasks";
import { Decoder, FinishReason, type GenerateRequest, RegionShape } from "@florence/proto/decoder";
import { CacheResult, CacheTier, type EncodeRequest, Encoder } from "@florence/proto/encoder";
import { createLogger, type Handlers, implement, startServer } from "@florence/service";
import { readGatewayConfig, startGateway } from "../src/gateway.ts";

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

/** Real gRPC servers that follow a script, and a real gateway in front of them, all on free ports. */
export async function startStack(
  script: { encoder?: EncoderScript; decoder?: DecoderScript; env?: Record<string, string> } = {},
) {
  const encodes: EncodeRequest[] = [];
  const generates: GenerateRequest[] = [];
  const encoderHandlers: Handlers<typeof Encoder> = {
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
    ...script.encoder,
  };
  const decoderHandlers: Handlers<typeof Decoder> = {
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
    ...script.decoder,
  };
  await using resources = new AsyncDisposableStack();
  const serve = { host: "127.0.0.1", port: 0, drainMs: 100 };
  const encoder = resources.use(
    await startServer({
      ...serve,
      services: [
        implement(Encoder, {
          ...encoderHandlers,
          encode: (request, context) => {
            encodes.push(request);
            return encoderHandlers.encode(request, context);
          },
        }),
      ],
    }),
  );
  const decoder = resources.use(
    await startServer({
      ...serve,
      services: [
        implement(Decoder, {
          ...decoderHandlers,
          generate: (request, context) => {
            generates.push(request);
            return decoderHandlers.generate(request, context);
          },
        }),
      ],
    }),
  );
  const config = readGatewayConfig({
    PORT: "0",
    FLORENCE_ENCODER: encoder.address,
    FLORENCE_DECODER: decoder.address,
    FLORENCE_DRAIN_MS: "500",
    ...script.env,
  });
  const gateway = resources.use(await startGateway(config, createLogger({ name: "test", level: "silent" })));
  const running = resources.move();
  const url = `http://127.0.0.1:${gateway.port}`;
  return {
    url,
    port: gateway.port,
    encodes,
    generates,
    encoder,
    decoder,
    get: (path: string) => fetch(url + path),
    json: (body: unknown, path = "/v1/annotate", init: RequestInit = {}) =>
      fetch(url + path, {
        method: "POST",
        body: JSON.stringify(body),
        ...init,
        headers: { "content-type": "application/json", ...init.headers },
      }),
    raw: (query: string, body: string | Uint8Array<ArrayBuffer> = picture, type = "image/png") =>
      fetch(`${url}/v1/annotate?${query}`, { method: "POST", headers: { "content-type": type }, body }),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Bytes that stand for a picture: scripted encoders do not look at them. */
export const picture = new Uint8Array([1, 2, 3, 4]);
export const data = Buffer.from(picture).toString("base64");

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

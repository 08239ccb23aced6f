import { type TaskRow, tasks } from "@florence/model/tasks";
import { Admission, Fault, faultTable, type Logger, toFault } from "@florence/service";
import { type Context, Hono } from "hono";
import { type AnnotateContext, annotate, collect, upload } from "./annotate/annotate.ts";
import type { DecoderClient, EncoderClient } from "./annotate/encode.ts";
import type { ReadContext } from "./annotate/forms.ts";
import { ImageIds } from "./annotate/image-id.ts";
import type { UrlFetch } from "./annotate/image-source.ts";
import { readAnnotateRequest, readUploadRequest } from "./annotate/request.ts";
import { annotateStream } from "./annotate/stream.ts";
import { HeldBytes } from "./http/body.ts";
import { beginCall, type Call } from "./http/call.ts";
import { faultResponse } from "./http/problem.ts";
import { chooseRequestId } from "./http/request-id.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { ModelProbe, modelsJson } from "./peers/models.ts";

/** What a gateway is made of. Nothing here is tied to Node: another runtime brings its own clients and fetcher. */
export interface GatewayParts {
  readonly encoder: EncoderClient;
  readonly decoder: DecoderClient;
  readonly log: Logger;
  readonly limits?: Partial<Limits>;
  /** At least 16 bytes, the same in every gateway that shall accept an image id. Default: random, so ids end with the process. */
  readonly idSecret?: Uint8Array<ArrayBuffer> | undefined;
  /** Fetches images by URL; without it every URL is refused. */
  readonly fetchUrl?: UrlFetch | undefined;
  /** Once it has fired, the gateway says that it is not ready. */
  readonly stopping?: AbortSignal | undefined;
}

// An image of 1 MB at 4 Mbit/s. Longer than most bodies take, and short enough that who sends a byte at a time blocks nobody.
const slowBodyMs = 2_000;

/** The HTTP application. */
export type Gateway = Hono<{ Variables: { requestId: string } }>;
type GatewayContext = Context<{ Variables: { requestId: string } }>;

export function createGateway(parts: GatewayParts): Gateway {
  const { encoder, decoder, log, stopping, fetchUrl = refuseUrl } = parts;
  const limits = { ...defaultLimits, ...parts.limits };
  const models = new ModelProbe(encoder, decoder);
  const ids = new ImageIds(parts.idSecret ?? crypto.getRandomValues(new Uint8Array(32)));
  const admission = new Admission({ running: limits.requestsMax, waiting: limits.queueMax });
  const receiving = new Admission({ running: limits.uploadsMax, waiting: 0 });
  const heldBytes = new HeldBytes(limits.heldBytesMax);

  /**
   * Reads a request, then runs its handler with a place among the requests served; both have one deadline and one account of bytes, which
   * are taken back at the end.
   */
  async function admitted<R>(
    c: GatewayContext,
    read: (request: Request, context: ReadContext) => Promise<R>,
    handle: (request: R, context: AnnotateContext, scope: DisposableStack) => Promise<Response>,
  ) {
    using scope = new DisposableStack();
    const requestId = c.get("requestId");
    const call = scope.use(beginCall(requestId, c.req.raw.signal, limits.deadlineMs, log.child({ requestId })));
    const account = scope.use(heldBytes.open());
    const request = await received(call, scope, (signal) => read(c.req.raw, { limits, account, signal }));
    return await handle(request, { encoder, decoder, models, ids, limits, fetchUrl, call, account }, scope);
  }

  /**
   * Takes a place for `scope`, then reads the body: what will not be served is not received. Who sends slowly gives the place back
   * meanwhile and takes one again at the end of the body.
   */
  async function received<R>(call: Call, scope: DisposableStack, read: (signal: AbortSignal) => Promise<R>) {
    using _sender = await receiving.acquire(call.signal);
    const place = scope.use(await admission.acquire(call.signal));
    let slow = false;
    const timer = setTimeout(() => {
      slow = true;
      place[Symbol.dispose]();
    }, slowBodyMs);
    try {
      const request = await read(call.signal);
      if (slow) scope.use(await admission.acquire(call.signal));
      return request;
    } finally {
      clearTimeout(timer);
    }
  }

  const routes: readonly Route[] = [
    {
      method: "POST",
      path: "/v1/annotate",
      about: "Ask one or several tasks about an image.",
      handle: (c) =>
        admitted(c, readAnnotateRequest, async (request, context, scope) => {
          const events = annotate(request, context);
          if (request.stream) return await annotateStream(events, context.call, scope);
          return json(await collect(request, events));
        }),
    },
    {
      method: "POST",
      path: "/v1/images",
      about: "Send and encode an image now, ask about it later by its id.",
      handle: (c) =>
        admitted(c, readUploadRequest, async (request, context) => json(await upload(request, context), 201)),
    },
    {
      method: "GET",
      path: "/v1/tasks",
      about: "The tasks and what each one takes.",
      handle: () => json({ tasks: tasks.map(taskJson) }),
    },
    {
      method: "GET",
      path: "/v1/models",
      about: "The checkpoint that is loaded.",
      handle: async () => json(modelsJson(await models.get())),
    },
    { method: "GET", path: "/healthz", about: "Whether this process lives.", handle: () => json({ status: "ok" }) },
    {
      method: "GET",
      path: "/readyz",
      about: "Whether calls can be answered now.",
      handle: async () => {
        if (stopping?.aborted) throw new Fault("unavailable", "The gateway is stopping.");
        await models.get();
        return json({ status: "ready" });
      },
    },
    {
      method: "GET",
      path: "/",
      about: "This list.",
      handle: () => json({ routes: routes.map(({ method, path, about }) => ({ method, path, about })) }),
    },
  ];
  return build(routes, log);
}

interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly about: string;
  readonly handle: (c: GatewayContext) => Response | Promise<Response>;
}

/** Hangs the routes up, with ids, logs and problem documents around them. */
function build(routes: readonly Route[], log: Logger): Gateway {
  const app: Gateway = new Hono();
  app.use(async function requestId(c, next) {
    const begin = performance.now();
    const id = chooseRequestId(c.req.header("x-request-id"));
    c.set("requestId", id);
    await next();
    c.res.headers.set("x-request-id", id);
    const line = {
      requestId: id,
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      ms: Math.round(performance.now() - begin),
    };
    // Probes come every few seconds and say nothing while all is well.
    if (probes.has(c.req.path) && c.res.ok) log.debug(line, "request");
    else log.info(line, "request");
  });
  for (const { method, path, handle } of routes) app.on(method, path, handle);
  for (const { method, path } of routes) {
    app.all(path, (c) => {
      const fault = new Fault("method_not_allowed", `${path} takes ${method} only.`);
      const response = faultResponse(fault, c.get("requestId"));
      response.headers.set("allow", method);
      return response;
    });
  }
  app.notFound((c) =>
    faultResponse(
      new Fault("not_found", "There is nothing at this address. GET / lists what there is."),
      c.get("requestId"),
    ),
  );
  app.onError((error, c) => {
    const fault = toFault(error);
    const requestId = c.get("requestId");
    // Faults below 500 are the caller's and go into the request's line; the others need an operator.
    if (faultTable[fault.code].http >= 500) log.error({ requestId, err: fault }, "request failed");
    else log.debug({ requestId, err: fault }, "request refused");
    return faultResponse(fault, requestId);
  });
  return app;
}

const probes = new Set(["/healthz", "/readyz"]);

function json(body: unknown, status = 200): Response {
  return Response.json(body, { status, headers: { "cache-control": "no-store" } });
}

function taskJson({ name, token, input, answer, description }: TaskRow) {
  return { name, token, input, answer, description };
}

const refuseUrl: UrlFetch = async () => {
  throw new Fault("url_forbidden", "image.url: this server fetches no images. Send the image itself.");
};

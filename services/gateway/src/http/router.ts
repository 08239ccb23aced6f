import { Fault, faultTable, toFault } from "@florence/service";
import { Hono } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { GatewayEvents } from "../events.ts";
import { callerCheck } from "./caller.ts";
import { json } from "./json.ts";
import { probePaths } from "./probes.ts";
import { faultResponse } from "./problem.ts";
import { chooseRequestId } from "./request-id.ts";
import type { Route } from "./route.ts";

/** Answers requests, whatever server brings them. */
export interface Router {
  /** `caller`: who it comes from, as far as sharing out goes. */
  fetch(request: Request, caller?: string): Response | Promise<Response>;
}

/** Hangs the routes up, with request ids, events and problem documents around them, and a list of them at `/`. */
export function createRouter(routes: readonly Route[], events: GatewayEvents, hosts?: readonly string[]): Router {
  const app = new Hono<{ Variables: { requestId: string }; Bindings: { caller: string } }>();
  app.use(async function withRequestId(c, next) {
    const begin = performance.now();
    const requestId = chooseRequestId(c.req.header("x-request-id"));
    const { method, path } = c.req;
    c.set("requestId", requestId);
    events.requestReceived({ requestId, method, path });
    await next();
    c.res.headers.set("x-request-id", requestId);
    const ms = Math.round(performance.now() - begin);
    events.requestAnswered({ requestId, method, path, status: c.res.status, ms });
  });
  // TLS is the work of whoever stands in front, and so is to insist on it.
  app.use(secureHeaders({ strictTransportSecurity: false }));
  if (hosts !== undefined) {
    const check = callerCheck(hosts);
    app.use(async function checkCaller(c, next) {
      // Whoever runs a container asks it by its address.
      if (!probePaths.has(c.req.path)) check(c.req.raw);
      await next();
    });
  }
  const all = withList(routes);
  // Hono answers HEAD with GET's handler, without its body.
  for (const { method, path, handle } of all) {
    app.on(method, path, (c) => handle({ request: c.req.raw, requestId: c.get("requestId"), caller: c.env.caller }));
  }
  for (const [path, methods] of methodsByPath(all)) {
    const allow = methods.join(", ");
    app.options(path, () => answerOptions(allow));
    app.all(path, (c) => {
      const fault = new Fault("method_not_allowed", `${path} takes ${allow} only.`);
      const response = faultResponse(fault, c.get("requestId"));
      response.headers.set("allow", allow);
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
    if (faultTable[fault.code].http >= 500) events.requestFailed({ requestId, path: c.req.path, fault });
    else events.requestRefused({ requestId, fault });
    return faultResponse(fault, requestId);
  });
  return { fetch: (request, caller = "") => app.fetch(request, { caller }) };
}

/** Says what a path takes. What pages of other origins may do (CORS) would be said here; today that is nothing. */
function answerOptions(allow: string): Response {
  return new Response(null, { status: 204, headers: { allow } });
}

/** All methods that each path answers. */
function methodsByPath(routes: readonly Route[]): Map<string, string[]> {
  const byPath = Map.groupBy(routes, ({ path }) => path);
  return new Map(
    [...byPath].map(([path, own]) => [
      path,
      [...own.flatMap(({ method }) => (method === "GET" ? [method, "HEAD"] : [method])), "OPTIONS"],
    ]),
  );
}

function withList(routes: readonly Route[]): readonly Route[] {
  const all: Route[] = [
    ...routes,
    {
      method: "GET",
      path: "/",
      description: "This list.",
      handle: () => json({ routes: all.map(({ handle: _, ...shown }) => shown) }),
    },
  ];
  return all;
}

import { request } from "node:http";
import { createEvents } from "@florence/service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { gatewayEvents } from "../src/events.ts";
import { createRouter } from "../src/http/router.ts";
import { type Json, problemOf, startStack } from "./stack.ts";

let stack: Awaited<ReturnType<typeof startStack>>;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack[Symbol.asyncDispose]());

const ask = (method: string, path: string) => fetch(stack.url + path, { method });

test("a method that a path does not take is refused with all that it takes", async () => {
  const cases = [
    ["GET", "/v1/annotate", "POST, OPTIONS"],
    ["HEAD", "/v1/images", "POST, OPTIONS"],
    ["POST", "/v1/tasks", "GET, HEAD, OPTIONS"],
    ["PATCH", "/", "GET, HEAD, OPTIONS"],
  ] as const;
  for (const [method, path, allow] of cases) {
    const response = await ask(method, path);
    expect(response.status, `${method} ${path}`).toBe(405);
    expect(response.headers.get("allow")).toBe(allow);
    if (method !== "HEAD") expect(await problemOf(response)).toMatchObject({ code: "method_not_allowed" });
  }
});

test("a path with several methods names all of them", async () => {
  const methods = ["GET", "PUT", "DELETE"];
  const routes = methods.map((method) => ({ method, path: "/x", description: "", handle: () => new Response(method) }));
  const { fetch: answer } = createRouter(routes, createEvents(gatewayEvents));
  const asked = (method: string) => answer(new Request("http://localhost/x", { method }));
  for (const method of methods) expect(await (await asked(method)).text()).toBe(method);
  const refused = await asked("POST");
  expect([refused.status, refused.headers.get("allow")]).toEqual([405, "GET, HEAD, PUT, DELETE, OPTIONS"]);
});

test("OPTIONS says what a path takes, and nothing at all of other origins", async () => {
  for (const [path, allow] of [
    ["/v1/annotate", "POST, OPTIONS"],
    ["/readyz", "GET, HEAD, OPTIONS"],
  ] as const) {
    const response = await ask("OPTIONS", path);
    expect([response.status, response.headers.get("allow")]).toEqual([204, allow]);
    expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  }
  expect((await ask("OPTIONS", "/v1/nothing")).status).toBe(404);
});

test("HEAD is answered where GET is, with its status and headers and without its body", async () => {
  for (const path of ["/", "/v1/tasks", "/v1/models", "/healthz", "/readyz"]) {
    const head = await ask("HEAD", path);
    const get = await ask("GET", path);
    expect([head.status, head.headers.get("content-type")]).toEqual([200, get.headers.get("content-type")]);
    expect((await head.arrayBuffer()).byteLength).toBe(0);
  }
});

test("GET / lists all routes, with the JSON Schema of those that take a body", async () => {
  const { routes } = (await (await ask("GET", "/")).json()) as Json;
  const annotate = routes.find(({ path }: Json) => path === "/v1/annotate");
  expect(annotate).toMatchObject({ method: "POST", description: expect.any(String) });
  expect(annotate.schema).toMatchObject({
    type: "object",
    additionalProperties: false,
    required: ["image", "tasks"],
    properties: { tasks: { maxItems: 32 }, image: { properties: { data: {}, url: {}, id: {} } } },
  });
  expect(routes.map(({ path }: Json) => path)).toEqual(
    expect.arrayContaining(["/", "/v1/images", "/v1/tasks", "/v1/models", "/healthz", "/readyz"]),
  );
});

test("a request without a usable target is a problem document too", async () => {
  const status = await new Promise<number | undefined>((resolve, reject) => {
    request({ port: stack.port, host: "127.0.0.1", path: "/", headers: { host: "a b" } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
  expect(status).toBe(400);
});

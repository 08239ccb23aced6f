import { createClient } from "@florence/grpc";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { createEvents, Fault } from "@florence/service";
import { expect, test } from "vitest";
import { type AnnotateParts, annotate, collect } from "../src/annotate/annotate.ts";
import { ImageIds } from "../src/annotate/image-id.ts";
import { knownTasks } from "../src/annotate/known-tasks.ts";
import { type AnnotateRequest, toAnnotateRequest } from "../src/annotate/request.ts";
import { createGateway } from "../src/app.ts";
import { gatewayEvents } from "../src/events.ts";
import { admitted, createEntrance } from "../src/http/admitted.ts";
import { type ReadContext, readBody } from "../src/http/body.ts";
import { json } from "../src/http/json.ts";
import { createRouter } from "../src/http/router.ts";
import { defaultLimits } from "../src/limits.ts";
import { balancedClients } from "../src/peers/clients.ts";
import { Peers } from "../src/peers/peers.ts";
import { createRetries } from "../src/peers/retry.ts";
import { image, problemOf, startStack } from "./stack.ts";

/** What a runtime other than ours would hand to the gateway's core, towards a stack's services. */
async function startParts() {
  await using resources = new AsyncDisposableStack();
  const stack = resources.use(await startStack());
  const events = createEvents(gatewayEvents);
  const shared = { events, resolve: async () => [] };
  const list = (servers: typeof stack.encoders) => servers.map(({ address }) => address).join(",");
  const encoders = resources.use(
    new Peers({
      ...shared,
      service: "encoder",
      list: list(stack.encoders),
      connect: (it) => createClient(Encoder, it),
    }),
  );
  const decoders = resources.use(
    new Peers({
      ...shared,
      service: "decoder",
      list: list(stack.decoders),
      connect: (it) => createClient(Decoder, it),
    }),
  );
  const running = resources.move();
  return {
    stack,
    events,
    clients: balancedClients(encoders, decoders, events),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

test("a route of another dialect is written outside the application, and asks for the work without our forms", async () => {
  await using made = await startParts();
  const { events, clients, stack } = made;
  const parts: AnnotateParts = {
    ...clients,
    events,
    limits: defaultLimits,
    ids: new ImageIds(new Uint8Array(32)),
    retries: createRetries(),
    fetchUrl: async () => {
      throw new Fault("url_forbidden", "No addresses here.");
    },
  };
  // Its tasks come in the path, its image in the body.
  const read = async (request: Request, context: ReadContext): Promise<AnnotateRequest> => {
    const task = new URL(request.url).pathname.split("/").at(-1);
    const bytes = await readBody(request, context.limits.uploadBytesMax, context);
    const form = { image: { kind: "bytes", bytes }, fields: { tasks: [{ task }] } } as const;
    return toAnnotateRequest(form, context.limits, false, () => knownTasks(parts.models, context.signal));
  };
  const entrance = createEntrance(defaultLimits, events);
  const router = createRouter(
    [
      {
        method: "PUT",
        path: "/say/:task",
        description: "The text of one task's answer.",
        handle: (incoming) =>
          admitted(entrance, incoming, {
            read,
            isLight: () => false,
            async handle(request, { call, account }) {
              const { results } = await collect(request, annotate(request, { ...parts, call, account }));
              return json(results.map((result) => ("text" in result ? result.text : result.error.code)));
            },
          }),
      },
    ],
    events,
  );
  const put = (task: string) =>
    router.fetch(new Request(`http://localhost/say/${task}`, { method: "PUT", body: image }));
  expect(await (await put("caption")).json()).toEqual(["</s><s>caption</s>"]);
  expect(stack.generates.at(-1)?.tasks.map(({ name }) => name)).toEqual(["caption"]);
  expect(await problemOf(await put("nothing"))).toMatchObject({ status: 400, code: "task_unknown" });
});

test("the application answers without a server, and refuses addresses where nobody fetches them", async () => {
  await using made = await startParts();
  const gateway = createGateway({ ...made.clients, events: made.events });
  expect((await gateway.fetch(new Request("http://localhost/readyz"))).status).toBe(200);
  const body = JSON.stringify({ image: { url: "https://images.test/" }, tasks: [{ task: "caption" }] });
  const headers = { "content-type": "application/json" };
  const asked = new Request("http://localhost/v1/annotate", { method: "POST", body, headers });
  expect(await problemOf(await gateway.fetch(asked))).toMatchObject({ status: 403, code: "url_forbidden" });
});

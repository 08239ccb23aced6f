import type { TaskRow } from "@florence/model/tasks";
import { within } from "@florence/service";
import { admitted, type Entrance } from "../http/admitted.ts";
import type { ReadContext } from "../http/body.ts";
import { json } from "../http/json.ts";
import type { Route } from "../http/route.ts";
import { serverTiming } from "../http/server-timing.ts";
import type { LoadedModels } from "../peers/agreement.ts";
import { type AnnotateParts, annotate, collect, upload } from "./annotate.ts";
import type { SummaryJson } from "./answer.ts";
import { readForm } from "./forms.ts";
import { knownTasks } from "./known-tasks.ts";
import { modelsJson } from "./models.ts";
import { toAnnotateRequest, toUploadRequest } from "./request.ts";
import { bodySchema, callSchema, uploadSchema } from "./schema.ts";
import { annotateStream } from "./stream.ts";

// Longer than a round of asking all services.
const getMs = 5_000;

/** The routes of this system's own dialect. */
export function annotateRoutes(parts: AnnotateParts, entrance: Entrance): readonly Route[] {
  const { models, limits } = parts;
  return [
    {
      method: "POST",
      path: "/v1/annotate",
      description: "Ask one or several tasks about an image.",
      schema: bodySchema(callSchema(limits)),
      handle: (incoming) =>
        admitted(entrance, incoming, {
          read: (request, context) => readAnnotate(request, context, models),
          isLight: ({ image }) => image.kind === "id",
          async handle(request, { call, account, scope }) {
            const events = annotate(request, { ...parts, call, account });
            if (request.stream) return await annotateStream(events, call, scope, parts.events);
            return timed(await collect(request, events));
          },
        }),
    },
    {
      method: "POST",
      path: "/v1/images",
      description: "Send and encode an image now, ask about it later by its id.",
      schema: bodySchema(uploadSchema),
      handle: (incoming) =>
        admitted(entrance, incoming, {
          read: readUpload,
          isLight: () => false,
          handle: async (request, { call, account }) => timed(await upload(request, { ...parts, call, account }), 201),
        }),
    },
    {
      method: "GET",
      path: "/v1/tasks",
      description: "The tasks, those of the loaded checkpoint among them, and what each one takes.",
      handle: async ({ request }) => {
        const known = await within(knownTasks(models, request.signal), getMs);
        return json({ tasks: known.map(taskJson) });
      },
    },
    {
      method: "GET",
      path: "/v1/models",
      description: "The checkpoint that is loaded.",
      handle: async () => json(modelsJson(await within(models.get(), getMs))),
    },
  ];
}

/** An answer that says in its head, too, where its time went. */
function timed(body: SummaryJson, status?: number): Response {
  const response = json(body, status);
  response.headers.set("server-timing", serverTiming(body.timing_ms));
  return response;
}

async function readAnnotate(request: Request, context: ReadContext, models: LoadedModels) {
  const form = await readForm(request, context);
  const acceptsEvents = accepts(request, "text/event-stream");
  return toAnnotateRequest(form, context.limits, acceptsEvents, () => knownTasks(models, context.signal));
}

async function readUpload(request: Request, context: ReadContext) {
  return toUploadRequest(await readForm(request, context));
}

function accepts(request: Request, mediaType: string): boolean {
  const types = (request.headers.get("accept") ?? "").split(",").map((type) => (type.split(";")[0] ?? "").trim());
  return types.includes(mediaType);
}

function taskJson({ name, token, input, answer, description }: TaskRow) {
  return { name, token, input, answer, description };
}

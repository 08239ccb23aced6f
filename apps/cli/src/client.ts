import { Fault, type FaultCode, isFaultCode } from "@florence/service";

export interface TaskRequest {
  readonly task: string;
  readonly text?: string;
}

/** A task that a server lists. */
export interface ListedTask {
  readonly name: string;
  readonly token: string;
  /** The kind of its answer. */
  readonly answer: string;
}

export interface Problem {
  readonly code: string;
  readonly title: string;
  readonly detail: string;
}

/** Something that was done to an image or a text and could surprise. */
export interface Warning {
  readonly code: string;
  readonly message: string;
}

/** One result of an annotate call, with details. */
export type Result =
  | {
      readonly task: string;
      readonly token: string;
      readonly answer: Record<string, unknown>;
      readonly text: string;
      readonly score: number;
      readonly finish_reason: string;
      readonly warnings?: readonly Warning[];
      readonly ids: readonly number[];
      readonly prompt_ids: readonly number[];
      readonly token_log_probs: readonly number[];
    }
  | { readonly task: string; readonly error: Problem };

export interface Answer {
  readonly model: { readonly name: string; readonly precision: string; readonly digest: string };
  readonly image: { readonly width: number; readonly height: number };
  /** Of the image; absent where there are none. */
  readonly warnings?: readonly Warning[];
  readonly results: readonly Result[];
}

/** GET /v1/tasks. Throws a Fault when the server does not say. */
export async function listTasks(server: string): Promise<readonly ListedTask[]> {
  const { tasks } = await ask<{ tasks: readonly ListedTask[] }>(server, "/v1/tasks");
  if (Array.isArray(tasks)) return tasks;
  throw noServer(server);
}

/** POST /v1/annotate. Throws a Fault when the call as a whole fails. */
export async function annotate(
  server: string,
  image: Uint8Array<ArrayBuffer>,
  tasks: readonly TaskRequest[],
  options: object,
): Promise<Answer> {
  const form = new FormData();
  form.set("image", new Blob([image]));
  form.set("tasks", JSON.stringify(tasks));
  form.set("options", JSON.stringify({ ...options, details: true }));
  const answer = await ask<Answer>(server, "/v1/annotate", { method: "POST", body: form });
  if (Array.isArray(answer.results) && answer.image && answer.model) return answer;
  throw noServer(server);
}

/** The JSON that a server answers with, as far as that is what it is. Throws a Fault for a problem, and where nobody answers. */
async function ask<A extends object>(server: string, path: string, init?: RequestInit): Promise<A> {
  let response: Response;
  try {
    response = await fetch(server.replace(/\/+$/, "") + path, init);
  } catch (cause) {
    throw new Fault("unavailable", `No server answers at ${server}.`, { cause });
  }
  const body = (await response.json().catch(() => ({}))) as A & Problem;
  if (response.ok) return body;
  const code: FaultCode = isFaultCode(body.code) ? body.code : "internal";
  throw new Fault(code, body.detail ?? `The server answered ${response.status}.`);
}

function noServer(server: string): Fault {
  return new Fault("internal", `What answers at ${server} is no Florence server.`);
}

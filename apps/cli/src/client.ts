import { Fault, type FaultCode, isFaultCode } from "@florence/service";

export interface TaskRequest {
  readonly task: string;
  readonly text?: string;
  readonly region?: { readonly x1: number; readonly y1: number; readonly x2: number; readonly y2: number };
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
  let response: Response;
  try {
    response = await fetch(`${server.replace(/\/+$/, "")}/v1/annotate`, { method: "POST", body: form });
  } catch (cause) {
    throw new Fault("unavailable", `No server answers at ${server}.`, { cause });
  }
  const body = (await response.json().catch(() => ({}))) as Answer & Problem;
  if (response.ok && Array.isArray(body.results) && body.image && body.model) return body;
  if (response.ok) throw new Fault("internal", `What answers at ${server} is no Florence server.`);
  const code: FaultCode = isFaultCode(body.code) ? body.code : "internal";
  throw new Fault(code, body.detail ?? `The server answered ${response.status}.`);
}

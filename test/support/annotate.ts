export interface Result {
  readonly task: string;
  readonly token?: string;
  readonly answer?: Record<string, unknown>;
  readonly text?: string;
  readonly score?: number;
  readonly finish_reason?: string;
  readonly ids?: readonly number[];
  readonly error?: { readonly code: string; readonly detail: string };
}

export interface Answer {
  readonly status: number;
  /** Of a problem document. */
  readonly code?: string;
  readonly detail?: string;
  readonly image: { readonly id: string; readonly width: number; readonly height: number };
  readonly model: { readonly name: string; readonly digest: string };
  readonly warnings?: readonly { readonly code: string; readonly message: string }[];
  readonly results: readonly Result[];
  readonly cache: { readonly result: string; readonly tier: string; readonly encodings: number };
}

export interface TaskRequest {
  readonly task: string;
  readonly text?: string | readonly string[];
  readonly region?: Record<string, number>;
}

async function read(response: Response): Promise<Answer> {
  return { ...((await response.json()) as object), status: response.status } as Answer;
}

/** POST /v1/annotate as JSON with the image inside. */
export async function annotateJson(
  url: string,
  image: Uint8Array,
  tasks: readonly TaskRequest[],
  options = {},
): Promise<Answer> {
  const body = JSON.stringify({ image: { data: Buffer.from(image).toString("base64") }, tasks, options });
  return read(
    await fetch(`${url}/v1/annotate`, { method: "POST", headers: { "content-type": "application/json" }, body }),
  );
}

/** POST /v1/annotate with the image as the body. */
export async function annotateRaw(
  url: string,
  image: Uint8Array<ArrayBuffer>,
  query: string,
  type = "image/png",
): Promise<Answer> {
  return read(
    await fetch(`${url}/v1/annotate?${query}`, { method: "POST", headers: { "content-type": type }, body: image }),
  );
}

/** POST /v1/annotate as a form. */
export async function annotateForm(
  url: string,
  image: Uint8Array<ArrayBuffer>,
  tasks: readonly TaskRequest[],
  options = {},
): Promise<Answer> {
  const form = new FormData();
  form.set("image", new Blob([image]));
  form.set("tasks", JSON.stringify(tasks));
  form.set("options", JSON.stringify(options));
  return read(await fetch(`${url}/v1/annotate`, { method: "POST", body: form }));
}

/** An answer without the scores that the reference does not have. */
export function withoutScores(answer: Record<string, unknown> | undefined): unknown {
  return JSON.parse(JSON.stringify(answer), (key, value) =>
    key === "scores" || key === "polygons_scores" ? undefined : value,
  );
}

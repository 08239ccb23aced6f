import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";

/** What an API server answered. */
export interface Answer {
  readonly status: number;
  // As many shapes as there are kinds.
  // biome-ignore lint/suspicious/noExplicitAny: the lab looks into objects of any kind.
  readonly body: any;
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** Talks to an API server on loopback, as an administrator. */
export class KubernetesClient {
  readonly #port: number;
  readonly #token: string;
  readonly #agent: Agent;
  readonly #resources = new Map<string, { name: string; namespaced: boolean }>();

  constructor(port: number, token: string, certificateFile: string) {
    this.#port = port;
    this.#token = token;
    this.#agent = new Agent({ ca: readFileSync(certificateFile), keepAlive: true });
  }

  send(method: string, path: string, body?: object, type = "application/json"): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${this.#token}`, "content-type": type };
      const options = { method, host: "127.0.0.1", port: this.#port, path, headers, agent: this.#agent };
      const sent = request(options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => {
          const json = response.headers["content-type"]?.includes("json");
          resolve({ status: response.statusCode ?? 0, body: json ? JSON.parse(text) : text });
        });
      });
      sent.on("error", reject).end(body && JSON.stringify(body));
    });
  }

  async get(path: string): Promise<Answer["body"]> {
    const { status, body } = await this.send("GET", path);
    if (status >= 300) throw new Error(`GET ${path}: ${status} ${body.message ?? body}`);
    return body;
  }

  /** Server-side apply; unknown and duplicate fields are refused. The answer says how it went. */
  async apply(object: KubernetesObject, dryRun = false): Promise<Answer> {
    const query = `fieldManager=lab&force=true&fieldValidation=Strict${dryRun ? "&dryRun=All" : ""}`;
    return this.send("PATCH", `${await this.path(object)}?${query}`, object, "application/apply-patch+yaml");
  }

  /** Where an object is. */
  async path({ apiVersion, kind, metadata: { name, namespace } }: KubernetesObject): Promise<string> {
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const key = `${apiVersion}/${kind}`;
    if (!this.#resources.has(key)) {
      const { resources } = await this.get(root);
      for (const one of resources) if (!one.name.includes("/")) this.#resources.set(`${apiVersion}/${one.kind}`, one);
    }
    const resource = this.#resources.get(key);
    if (resource === undefined) throw new Error(`The server has no ${key}.`);
    return `${root}${resource.namespaced ? `/namespaces/${namespace ?? "default"}` : ""}/${resource.name}/${name}`;
  }
}

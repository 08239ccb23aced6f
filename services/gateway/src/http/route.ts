/** A request as its route gets it. */
export interface Incoming {
  readonly request: Request;
  /** In the answer's x-request-id, in problem documents and in all events. */
  readonly requestId: string;
  /** Who it comes from, as far as sharing out goes: an address, or a network of them. */
  readonly caller: string;
}

/** One method of one path. */
export interface Route {
  /** Any of HTTP but HEAD and OPTIONS, which the router answers. */
  readonly method: string;
  readonly path: string;
  /** One line for people; GET / shows it. */
  readonly description: string;
  /** JSON Schema of the body, where it may be JSON. */
  readonly schema?: object;
  /** What it throws is answered with a problem document. */
  readonly handle: (incoming: Incoming) => Response | Promise<Response>;
}

import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Tracing } from "@florence/service";

/** Has a tracing told of each request, from its head until its answer is sent or nobody waits for it any more. */
export function tracedListener(
  tracing: Tracing,
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
): RequestListener {
  return (request, response) => {
    const header = (name: string) => [request.headers[name]].flat()[0];
    const call = tracing.serve({ protocol: "http", name: request.method ?? "", header });
    for (const [name, value] of Object.entries(call.headers)) response.setHeader(name, value);
    response.once("close", call.end);
    void call.run(() => listener(request, response));
  };
}

import { type Fault, faultTable } from "@florence/service";

/** An RFC 9457 problem document. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Stable; a program decides by this. */
  readonly code: string;
  /** The id of the request, as in its x-request-id header. */
  readonly instance: string;
}

/** What `internal` says, whoever made it: the log has the rest. */
const internalDetail = "Something went wrong inside the service.";

export function toProblem(fault: Fault, requestId: string): Problem {
  const { code } = fault;
  const { http, title } = faultTable[code];
  const detail = code === "internal" ? internalDetail : fault.detail;
  return { type: `urn:florence:problem:${code}`, title, status: http, detail, code, instance: requestId };
}

/** The whole answer for a fault, with Retry-After where coming back later helps. */
export function faultResponse(fault: Fault, requestId: string): Response {
  const problem = toProblem(fault, requestId);
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  if (problem.status === 429 || problem.status === 503) {
    headers.set("retry-after", String(Math.ceil(fault.retryAfterS ?? 1)));
  }
  return new Response(JSON.stringify(problem), { status: problem.status, headers });
}

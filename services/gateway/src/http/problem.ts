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

export function toProblem(fault: Fault, requestId: string): Problem {
  const { http, title } = faultTable[fault.code];
  return problem(fault.code, title, http, fault.detail, requestId);
}

/** A problem of HTTP itself, which no service behind the gateway can have. */
export function problem(code: string, title: string, status: number, detail: string, requestId: string): Problem {
  return { type: `urn:florence:problem:${code}`, title, status, detail, code, instance: requestId };
}

export function problemResponse(body: Problem, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status: body.status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store", ...headers },
  });
}

/** The whole answer for a fault, with Retry-After where coming back later helps. */
export function faultResponse(fault: Fault, requestId: string): Response {
  const body = toProblem(fault, requestId);
  const retryable = body.status === 429 || body.status === 503;
  return problemResponse(body, retryable ? { "retry-after": String(Math.ceil(fault.retryAfterS ?? 1)) } : {});
}

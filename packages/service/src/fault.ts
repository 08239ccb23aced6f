// The gRPC status numbers in use, written out so that this file runs where grpc-js does not.
const status = Object.freeze({
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
});

/** One way a request can fail: how it is answered over gRPC and over HTTP. */
export interface FaultRow {
  /** A gRPC status number. */
  readonly grpc: number;
  readonly http: number;
  /** Short, the same for every occurrence: the `title` of a problem document. */
  readonly title: string;
}

const row = (grpc: number, http: number, title: string): FaultRow => ({ grpc, http, title });

/** Every stable error code, with its gRPC status and its HTTP status. The only such mapping in the project. */
export const faultTable = Object.freeze({
  image_missing: row(status.INVALID_ARGUMENT, 400, "No image was sent"),
  image_undecodable: row(status.INVALID_ARGUMENT, 422, "The image cannot be decoded"),
  image_type_unsupported: row(status.INVALID_ARGUMENT, 415, "The image's format is not supported"),
  image_too_large: row(status.INVALID_ARGUMENT, 413, "The image has too many bytes"),
  image_too_many_pixels: row(status.INVALID_ARGUMENT, 413, "The image has too many pixels"),
  url_forbidden: row(status.PERMISSION_DENIED, 403, "The image's URL is not allowed"),
  url_unreachable: row(status.FAILED_PRECONDITION, 422, "The image's URL cannot be fetched"),
  task_unknown: row(status.INVALID_ARGUMENT, 400, "The task is unknown"),
  task_input_missing: row(status.INVALID_ARGUMENT, 400, "The task needs an input"),
  task_input_unexpected: row(status.INVALID_ARGUMENT, 400, "The task takes no such input"),
  region_invalid: row(status.INVALID_ARGUMENT, 400, "The region is invalid"),
  option_invalid: row(status.INVALID_ARGUMENT, 400, "An option is invalid"),
  body_invalid: row(status.INVALID_ARGUMENT, 400, "The request is malformed"),
  prompt_token_invalid: row(status.INVALID_ARGUMENT, 400, "The prompt holds a token that the model cannot take"),
  prompt_too_long: row(status.INVALID_ARGUMENT, 400, "The prompt is too long"),
  unauthorized: row(status.UNAUTHENTICATED, 401, "Authentication is required"),
  rate_limited: row(status.RESOURCE_EXHAUSTED, 429, "Too many requests"),
  overloaded: row(status.RESOURCE_EXHAUSTED, 429, "The service is at capacity"),
  deadline_exceeded: row(status.DEADLINE_EXCEEDED, 504, "The deadline has passed"),
  embedding_evicted: row(status.NOT_FOUND, 410, "The image is no longer stored"),
  unavailable: row(status.UNAVAILABLE, 503, "The service is unavailable"),
  internal: row(status.INTERNAL, 500, "Internal error"),
  not_found: row(status.NOT_FOUND, 404, "Not found"),
  method_not_allowed: row(status.UNIMPLEMENTED, 405, "The method is not allowed here"),
  cancelled: row(status.CANCELLED, 499, "The caller went away"),
});

/** A code of the error table: stable, part of the public contract. */
export type FaultCode = keyof typeof faultTable;

/** Tells whether a string is a code of the error table. */
export function isFaultCode(code: unknown): code is FaultCode {
  return typeof code === "string" && Object.hasOwn(faultTable, code);
}

// A few sentences for a person. Percent-encoded it can grow ninefold in a trailer, and HTTP/2 peers commonly refuse
// header lists above 16 KiB.
const detailCharactersMax = 1000;

/** What a Fault may carry besides its code and its public detail. */
export interface FaultOptions {
  /** The error behind this one, for logs; it never reaches a client. */
  cause?: unknown;
  /** What an operator should know and a client should not. It becomes the `message`, which logs show. */
  internal?: string | undefined;
  /** Seconds after which trying again makes sense. */
  retryAfterS?: number | undefined;
}

/** An error with two audiences: `code` and `detail` go to the client, `message` and `cause` only to logs. */
export class Fault extends Error {
  override readonly name = "Fault";
  readonly code: FaultCode;
  /** Public: says what is wrong with this request, and holds no secret, path or stack. */
  readonly detail: string;
  readonly retryAfterS: number | undefined;

  constructor(code: FaultCode, detail: string, options: FaultOptions = {}) {
    super(options.internal ?? detail, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    // Well formed, because a lone surrogate of some user's text would make the header encoder throw.
    this.detail = detail.slice(0, detailCharactersMax).toWellFormed();
    this.retryAfterS = options.retryAfterS;
  }
}

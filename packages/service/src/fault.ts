/** The gRPC status numbers in use, written out so that this file runs where grpc-js does not. */
export const status = Object.freeze({
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

/** One way in which something fails. */
interface ErrorRow {
  /** Short, the same for every occurrence: the `title` of a problem document. */
  readonly title: string;
  /** When it happens and what to do, for docs/errors.md. */
  readonly help: string;
}

/** One way in which a request fails: how it is answered over gRPC and over HTTP. */
interface RequestRow extends ErrorRow {
  readonly where: "request";
  /** A gRPC status number. */
  readonly grpc: number;
  readonly http: number;
}

/** One way in which a checkpoint or a build of one fails, for whoever starts a program on it. No caller of a service learns of it. */
interface CheckpointRow extends ErrorRow {
  readonly where: "checkpoint";
}

const request = (grpc: number, http: number, title: string, help: string): RequestRow => ({
  where: "request",
  grpc,
  http,
  title,
  help,
});
const checkpoint = (title: string, help: string): CheckpointRow => ({ where: "checkpoint", title, help });

/** Every stable error code of the project: the only such table. docs/errors.md is made from it. */
export const faultTable = Object.freeze({
  image_missing: request(
    status.INVALID_ARGUMENT,
    400,
    "No image was sent",
    "The call holds no image: send one as the body, in the form, or as image.data, image.url or image.id.",
  ),
  image_undecodable: request(
    status.INVALID_ARGUMENT,
    422,
    "The image cannot be decoded",
    "The file is damaged, cut off or empty, or takes too long or too much memory to decode. Send it again, whole, or save it anew.",
  ),
  image_type_unsupported: request(
    status.INVALID_ARGUMENT,
    415,
    "The image's format is not supported",
    "The bytes are no image of a format that is read, whatever the call says they are. The detail names what they are and what is read: convert the image.",
  ),
  image_too_large: request(
    status.INVALID_ARGUMENT,
    413,
    "The image has too many bytes",
    "The file is larger than FLORENCE_UPLOAD_BYTES_MAX. Make it smaller: the model sees a square of a few hundred pixels.",
  ),
  image_too_many_pixels: request(
    status.INVALID_ARGUMENT,
    413,
    "The image has too many pixels",
    "Width times height is over FLORENCE_PIXELS_MAX, or one side is too long. Make it smaller.",
  ),
  url_forbidden: request(
    status.PERMISSION_DENIED,
    403,
    "The image's URL is not allowed",
    "Only https addresses of public hosts, without credentials, are fetched, and none where fetching is switched off. Send the image itself.",
  ),
  url_unreachable: request(
    status.FAILED_PRECONDITION,
    422,
    "The image's URL cannot be fetched",
    "The host has no address, did not answer in time, answered with an error or redirected too often. Check the address, or send the image itself.",
  ),
  task_unknown: request(
    status.INVALID_ARGUMENT,
    400,
    "The task is unknown",
    "GET /v1/tasks lists the tasks by name and token.",
  ),
  task_input_missing: request(
    status.INVALID_ARGUMENT,
    400,
    "The task needs an input",
    "The task takes a text or a region and was given none; GET /v1/tasks says which.",
  ),
  task_input_unexpected: request(
    status.INVALID_ARGUMENT,
    400,
    "The task takes no such input",
    "The task takes no input, or one of another kind. Leave it out.",
  ),
  region_invalid: request(
    status.INVALID_ARGUMENT,
    400,
    "The region is invalid",
    "A region is four location tokens, or x1, y1, x2, y2 in pixels of the upright image, x1 and y1 not past x2 and y2.",
  ),
  option_invalid: request(
    status.INVALID_ARGUMENT,
    400,
    "An option is invalid",
    "An option has no such value or stands outside its bounds; the detail says what is allowed.",
  ),
  body_invalid: request(
    status.INVALID_ARGUMENT,
    400,
    "The request is malformed",
    "The body or the query is not what the interface takes: wrong JSON, an unknown field, no task, too many tasks. The detail names the place.",
  ),
  body_too_large: request(
    status.INVALID_ARGUMENT,
    413,
    "The body has too many bytes",
    "What stands beside the image is over FLORENCE_BODY_OVERHEAD_BYTES_MAX, or the whole body over that and the image's limit. Send less in one call.",
  ),
  body_too_slow: request(
    status.DEADLINE_EXCEEDED,
    408,
    "The body came too slowly",
    "After its first second a body must bring FLORENCE_BODY_BYTES_PER_SECOND_MIN; when uploads are short, whoever has sent nothing yet makes room. Send it again, without pauses.",
  ),
  caller_forbidden: request(
    status.PERMISSION_DENIED,
    403,
    "Calls are not accepted from there",
    "The Host header is none of the server's names, or a web page of another site made the call. A server on loopback takes localhost; FLORENCE_ALLOWED_HOSTS names others.",
  ),
  prompt_too_long: request(
    status.INVALID_ARGUMENT,
    400,
    "The prompt is too long",
    "The task's text has too many characters or tokens. Shorten it, or ask in several calls.",
  ),
  prompt_token_invalid: request(
    status.INVALID_ARGUMENT,
    400,
    "The prompt holds a token that the model cannot take",
    "The task's text spells a token that the tokenizer knows and the weights do not, or the image's own placeholder. Leave it out.",
  ),
  unauthorized: request(
    status.UNAUTHENTICATED,
    401,
    "Authentication is required",
    "A peer, or a proxy between gateway and peers, asks for credentials that were not given. For whoever runs the system to set right.",
  ),
  rate_limited: request(
    status.RESOURCE_EXHAUSTED,
    429,
    "Too many requests",
    "One caller asked too often. Wait as long as Retry-After says.",
  ),
  overloaded: request(
    status.RESOURCE_EXHAUSTED,
    429,
    "The service is at capacity",
    "All places are taken and the queue is full. Try again after the seconds in Retry-After; add processes if it lasts.",
  ),
  deadline_exceeded: request(
    status.DEADLINE_EXCEEDED,
    504,
    "The deadline has passed",
    "The call took longer than it may. Ask for fewer tasks or tokens, or try again when there is less to do.",
  ),
  embedding_evicted: request(
    status.NOT_FOUND,
    410,
    "The image is no longer stored",
    "An image.id is too old, was sealed by another system, or its embedding had to make room. Send the image again.",
  ),
  unavailable: request(
    status.UNAVAILABLE,
    503,
    "The service is unavailable",
    "A process is starting, stopping, has fallen or cannot be reached. Try again; the log and the health checks say which one.",
  ),
  internal: request(
    status.INTERNAL,
    500,
    "Internal error",
    "Something that should not happen did. The caller learns no more; the log has the cause under the request's id.",
  ),
  not_found: request(
    status.NOT_FOUND,
    404,
    "Not found",
    "There is nothing at this address. GET / lists what there is.",
  ),
  method_not_allowed: request(
    status.UNIMPLEMENTED,
    405,
    "The method is not allowed here",
    "The address exists, but takes another method; the Allow header says which.",
  ),
  cancelled: request(
    status.CANCELLED,
    499,
    "The caller went away",
    "The connection was closed before the answer. Seen in logs only.",
  ),
  checkpoint_file_missing: checkpoint(
    "A file of the checkpoint is missing",
    "There is no such folder, or it lacks the file that the message names. The message says what was found instead, and what to do.",
  ),
  checkpoint_config_invalid: checkpoint(
    "The checkpoint's configuration cannot be used",
    "A configuration, tokenizer or index file is damaged, or describes a model that is no Florence-2. The message names the key.",
  ),
  checkpoint_truncated: checkpoint(
    "A file of the checkpoint is incomplete",
    "A weight file ends before its last tensor: the download was cut off. Download it again.",
  ),
  checkpoint_tensor_missing: checkpoint(
    "A weight of the model is missing",
    "The weight files lack a tensor that the configuration calls for. Files and configuration belong to different checkpoints, or a shard is missing.",
  ),
  checkpoint_tensor_shape: checkpoint(
    "A weight of the model has another shape",
    "A tensor's shape is not what the configuration calls for. Files and configuration belong to different checkpoints.",
  ),
  checkpoint_dtype_unsupported: checkpoint(
    "The weights' number type is not supported",
    "Weights may be float32, float16 or bfloat16. Convert the checkpoint.",
  ),
  checkpoint_unsupported: checkpoint(
    "The checkpoint is of a kind that is not supported",
    "It is quantised, another model, another framework's file, or asks for something that changes answers and is not known here. The message names it and says what to do.",
  ),
  checkpoint_weights_invalid: checkpoint(
    "A weight of the model is no finite number",
    "A tensor holds NaN or infinity: the file is damaged, or the training diverged. Take an earlier checkpoint.",
  ),
  build_corrupt: checkpoint(
    "A built folder is damaged",
    "A file is missing, cut off or changed since the build. Build the checkpoint again; builds in the cache are made anew by themselves.",
  ),
  build_outdated: checkpoint(
    "A built folder is of another version",
    "The folder was built by an earlier or later version of this project. Build the checkpoint again.",
  ),
  build_failed_verification: checkpoint(
    "A built folder failed its comparison with fp32",
    "Its answers were too far from fp32's when florence verify compared them. Use another precision, or --allow-unverified.",
  ),
  hub_name_invalid: checkpoint(
    "The model's name is none",
    "A name is owner/name, owner/name@revision, or base, large, base-ft or large-ft.",
  ),
  hub_repository_missing: checkpoint(
    "The hub has no such model",
    "Look at the spelling. A private model is shown to its members only: set HF_TOKEN.",
  ),
  hub_revision_missing: checkpoint(
    "The model has no such revision",
    "Name a branch, a tag or a commit that the hub lists.",
  ),
  hub_gated: checkpoint(
    "The model is gated",
    "Accept its terms on the page that the message names, with the account of HF_TOKEN.",
  ),
  hub_token_refused: checkpoint("The hub refuses the token", "HF_TOKEN, or the token file, is wrong or has expired."),
  hub_offline: checkpoint(
    "The model is not in the cache, and the hub must not be asked",
    "Unset HF_HUB_OFFLINE, or copy the cache from a machine that has the model.",
  ),
  hub_unreachable: checkpoint("The hub cannot be reached", "Look at the network, HTTPS_PROXY and HF_ENDPOINT."),
  hub_interrupted: checkpoint(
    "The hub broke off again and again",
    "Start again: what has come is kept, and it goes on from there.",
  ),
  hub_checksum_wrong: checkpoint(
    "A file is not what the hub says it is",
    "It was thrown away. Start again; if it happens again, look at the proxy between.",
  ),
  hub_answer_invalid: checkpoint("The hub's answer makes no sense", "HF_ENDPOINT may name something that is no hub."),
  hub_cache_unwritable: checkpoint("The hub's cache cannot be written", "Point HF_HOME to a folder of yours."),
  disk_full: checkpoint(
    "The disk is full",
    "There is no room for a build. Free some, or name another folder; florence cache clear removes builds of raw checkpoints.",
  ),
});

/** Every code: of requests and of checkpoints. Stable, part of the public contract. */
export type ErrorCode = keyof typeof faultTable;

/** A code that a request may fail with. */
export type FaultCode = {
  [C in ErrorCode]: (typeof faultTable)[C]["where"] extends "request" ? C : never;
}[ErrorCode];

/** Tells whether something is a code that a request may fail with. */
export function isFaultCode(code: unknown): code is FaultCode {
  return (
    typeof code === "string" && Object.hasOwn(faultTable, code) && faultTable[code as ErrorCode].where === "request"
  );
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

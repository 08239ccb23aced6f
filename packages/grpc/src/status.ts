import { Fault, type FaultCode, faultTable, isFaultCode, toFault } from "@florence/service";
import { Metadata, status } from "@grpc/grpc-js";

/** Metadata keys that carry a Fault through a gRPC status. */
export const faultMetadata = { code: "florence-code", retryAfter: "florence-retry-after" } as const;

// For statuses that did not come from our own servers: grpc-js itself, a proxy, another implementation.
const codeByStatus: Partial<Record<status, FaultCode>> = {
  [status.CANCELLED]: "cancelled",
  [status.DEADLINE_EXCEEDED]: "deadline_exceeded",
  [status.RESOURCE_EXHAUSTED]: "overloaded",
  [status.UNAVAILABLE]: "unavailable",
  [status.UNAUTHENTICATED]: "unauthorized",
  [status.PERMISSION_DENIED]: "unauthorized",
  [status.NOT_FOUND]: "not_found",
  [status.INVALID_ARGUMENT]: "body_invalid",
};

/** The gRPC status of a Fault, in the shape that grpc-js takes as an error. */
export function toStatus(fault: Fault): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set(faultMetadata.code, fault.code);
  if (fault.retryAfterS !== undefined) metadata.set(faultMetadata.retryAfter, String(fault.retryAfterS));
  return { code: faultTable[fault.code].grpc, details: fault.detail, metadata };
}

/** The Fault that a call failed with: what its server said, else what its status means; any other error as toFault has it. */
export function fromStatus(error: unknown): Fault {
  return error instanceof Error && isServiceError(error) ? fromServiceError(error) : toFault(error);
}

/** Whether an error carries a code of ours, as only our own servers send them, or somebody who pretends to be one. */
export function isOurs(error: unknown): error is StatusLike {
  return error instanceof Error && isServiceError(error) && isFaultCode(error.metadata.get(faultMetadata.code)[0]);
}

interface StatusLike {
  code: status;
  details: string;
  metadata: Metadata;
}

function isServiceError(error: Error): error is Error & StatusLike {
  const { code, details, metadata } = error as Partial<StatusLike>;
  return typeof code === "number" && typeof details === "string" && metadata instanceof Metadata;
}

// grpc-js's own words, said with RESOURCE_EXHAUSTED: nothing is busy then, and coming back later does not help. A size that the other side refuses comes with the headers of its answer.
const sentTooLarge = /^Attempted to send message with a size larger than/;
const receivedTooLarge = /^Received message.* larger than/;
const answeredTooLarge = /^Sent message larger than/;

function tooLarge({ details, metadata }: StatusLike): Fault | undefined {
  const fromServer = Object.keys(metadata.getMap()).length > 0;
  if (sentTooLarge.test(details) || (fromServer && receivedTooLarge.test(details))) {
    return new Fault("body_invalid", "The request is larger than the service takes.", { internal: details });
  }
  if (!receivedTooLarge.test(details) && !answeredTooLarge.test(details)) return undefined;
  return new Fault("internal", "Something went wrong inside the service.", { internal: details });
}

function fromServiceError(error: Error & StatusLike): Fault {
  const sent = error.metadata.get(faultMetadata.code)[0];
  // Without our own code the details are another program's words, not written for our users.
  if (!isFaultCode(sent)) {
    const size = error.code === status.RESOURCE_EXHAUSTED ? tooLarge(error) : undefined;
    if (size) return size;
    const code = codeByStatus[error.code] ?? "internal";
    return new Fault(code, `${faultTable[code].title}.`, { cause: error, internal: error.message });
  }
  const retryAfterS = Number(error.metadata.get(faultMetadata.retryAfter)[0] ?? Number.NaN);
  return new Fault(sent, error.details, { cause: error, ...(Number.isFinite(retryAfterS) && { retryAfterS }) });
}

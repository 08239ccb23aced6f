import { Metadata, status } from "@grpc/grpc-js";
import { Fault, type FaultCode, faultTable, isFaultCode } from "./fault.ts";

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

/**
 * Makes a Fault of anything thrown. A Fault stays itself; an Error whose `code` is in the table keeps code and message
 * (so its class must write messages for users); gRPC errors, aborts and timeouts are recognised. Everything else is
 * `internal`: the client learns nothing of it, logs find it as the `cause`.
 */
export function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof Error) {
    if (isFaultCode(propertyOf(error, "code"))) {
      return new Fault(propertyOf(error, "code") as FaultCode, error.message, { cause: error });
    }
    if (isServiceError(error)) return fromServiceError(error);
    if (error.name === "AbortError") return new Fault("cancelled", `${faultTable.cancelled.title}.`, { cause: error });
    if (error.name === "TimeoutError") {
      return new Fault("deadline_exceeded", `${faultTable.deadline_exceeded.title}.`, { cause: error });
    }
  }
  const internal = error instanceof Error ? error.message : String(error);
  return new Fault("internal", "Something went wrong inside the service.", { cause: error, internal });
}

/** The gRPC status of a Fault, in the shape that grpc-js takes as an error. */
export function toStatus(fault: Fault): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set(faultMetadata.code, fault.code);
  if (fault.retryAfterS !== undefined) metadata.set(faultMetadata.retryAfter, String(fault.retryAfterS));
  return { code: faultTable[fault.code].grpc, details: fault.detail, metadata };
}

interface StatusLike {
  code: status;
  details: string;
  metadata: Metadata;
}

function isServiceError(error: Error): error is Error & StatusLike {
  return (
    typeof propertyOf(error, "code") === "number" &&
    typeof propertyOf(error, "details") === "string" &&
    propertyOf(error, "metadata") instanceof Metadata
  );
}

function fromServiceError(error: Error & StatusLike): Fault {
  const sent = error.metadata.get(faultMetadata.code)[0];
  // Without our own code the details are another program's words, not written for our users.
  if (!isFaultCode(sent)) {
    const code = codeByStatus[error.code] ?? "internal";
    return new Fault(code, `${faultTable[code].title}.`, { cause: error, internal: error.message });
  }
  const retryAfterS = Number(error.metadata.get(faultMetadata.retryAfter)[0] ?? Number.NaN);
  return new Fault(sent, error.details, { cause: error, ...(Number.isFinite(retryAfterS) && { retryAfterS }) });
}

function propertyOf(value: object, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

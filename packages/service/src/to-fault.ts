import { Fault, faultTable, isFaultCode } from "./fault.ts";

/**
 * Makes a Fault of anything thrown. A Fault stays itself; an Error whose `code` is one that requests fail with keeps code and
 * message (so its class must write messages for users); aborts and timeouts are recognised. Everything else is `internal`,
 * checkpoints' codes too, whose messages name files: the client learns nothing of it, logs find it as the `cause`.
 */
export function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof Error) {
    const { code } = error as Error & { code?: unknown };
    if (isFaultCode(code)) return new Fault(code, error.message, { cause: error });
    if (error.name === "AbortError") return new Fault("cancelled", `${faultTable.cancelled.title}.`, { cause: error });
    if (error.name === "TimeoutError") {
      return new Fault("deadline_exceeded", `${faultTable.deadline_exceeded.title}.`, { cause: error });
    }
  }
  const internal = error instanceof Error ? error.message : String(error);
  return new Fault("internal", "Something went wrong inside the service.", { cause: error, internal });
}

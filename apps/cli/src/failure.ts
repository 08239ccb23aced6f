import { ModelError } from "@florence/model/errors";
import { ConfigError, Fault } from "@florence/service";

/** A mistake in how the command was called: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One clear line about an error. */
export function describe(error: unknown): string {
  if (error instanceof Fault) return error.detail;
  if (error instanceof ModelError || error instanceof ConfigError || error instanceof UsageError) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE") return `${message.replace(/^.*EADDRINUSE:? ?/, "")}: choose another port with --port.`;
  return message ?? String(error);
}

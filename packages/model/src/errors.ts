import type { ErrorCode } from "@florence/service/fault";

/**
 * An input or a checkpoint that cannot be used. The message is for users: it names what is wrong, never a stack or a secret. Every code is
 * a row of the service package's fault table.
 */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

import type { ErrorCode } from "@florence/service";

/** Every way in which getting a checkpoint from a hub can fail: those rows of the table of errors. */
export type HubErrorCode = Extract<ErrorCode, `hub_${string}` | "checkpoint_file_missing" | "disk_full">;

/** A checkpoint that could not be had. The message is one line for users: what is wrong and what to do; it holds no token. */
export class HubError extends Error {
  override readonly name = "HubError";
  readonly code: HubErrorCode;

  constructor(code: HubErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A failure that trying again may mend: the line broke, the server is busy. It leaves this package only as a HubError. */
export class Transient extends Error {
  /** How long the server asked to be left alone. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0, options?: ErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

/** What a failed write to the cache means to a user. Errors of other kinds pass unchanged. */
export function fromFileError(error: unknown, folder: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  // A quota, and a limit on the size of files, are a full disk to who meets them.
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG")
    return new HubError(
      "disk_full",
      `There is no room left in ${folder} (${code}): free some, or point HF_HOME elsewhere.`,
      { cause: error },
    );
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new HubError(
      "hub_cache_unwritable",
      `${folder} cannot be written (${code}): point HF_HOME to a folder of yours.`,
      { cause: error },
    );
  return error;
}

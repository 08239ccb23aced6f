import type { Warning } from "@florence/proto/encoder";
import { Fault } from "@florence/service";

/** Something that was done to an image or a text and could surprise. */
export interface WarningJson {
  /** Stable. */
  readonly code: string;
  /** One sentence for people. */
  readonly message: string;
}

// Twice as many as there are kinds.
const warningsMax = 16;
// A sentence or two; codes are shorter.
const charactersMax = 500;

/** An encoder's warnings. Throws `unavailable` for more than they can be: another encoder may do better. */
export function warningsOf(warnings: readonly Warning[]): WarningJson[] {
  if (warnings.length > warningsMax || warnings.some((one) => one.code.length + one.message.length > charactersMax)) {
    throw new Fault("unavailable", "An encoder's answer cannot be used.", {
      internal: `The encoder sent ${warnings.length} warnings, or one that is too long.`,
    });
  }
  return warnings.map(({ code, message }) => ({ code, message }));
}

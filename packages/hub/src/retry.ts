import { sleep } from "@florence/service";
import { Transient } from "./error.ts";

// With the waits below half a minute in all: longer than a router takes to come back, shorter than a person's patience.
export const attemptsMax = 5;
const waitMsMin = 500;
// A busy hub says when to come back; past this it is better to tell the person.
const waitMsMax = 30_000;

/** How long to wait before an attempt: `failures` have gone before it, `error` is the last of them. */
export function waitBefore(failures: number, error: Transient): Promise<void> {
  const patient = waitMsMin * 2 ** (failures - 1);
  return sleep(Math.min(waitMsMax, Math.max(patient, error.retryAfterMs)));
}

/**
 * What `attempt` gives, tried again a few times while it fails with a Transient, which is thrown in the end; at once where no such server
 * is, as on a machine without a network.
 */
export async function retried<T>(attempt: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Transient) || failures === attemptsMax || isNobodyThere(error)) throw error;
      await waitBefore(failures, error);
    }
  }
}

function isNobodyThere({ cause }: Transient): boolean {
  return ["ENOTFOUND", "ECONNREFUSED"].includes((cause as NodeJS.ErrnoException | undefined)?.code ?? "");
}

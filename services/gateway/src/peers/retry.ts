import { Fault, toFault } from "@florence/service";

/** How often a call to a service may be tried again, all in all, while `unavailable` is what comes of it. */
export interface RetryPolicy {
  /** Tries that follow at once, at peers that were not just found absent. */
  readonly atOnceMax: number;
  /** The pauses before tries of peers that were, in order, milliseconds. */
  readonly pausesMs: readonly number[];
}

/**
 * All second tries of the gateway; nothing below or above it tries again. A request calls Encode 6 times at worst (1 + 2 + 3) and Generate
 * 5 times (1 + 2 + 2). An embedding that is evicted under its tasks adds one more Generate, and an Encode with tries of its own.
 */
export const retryPolicies = {
  encode: {
    // An image that three encoders in a row cannot take will not be taken.
    atOnceMax: 2,
    // For when no encoder is there: longer than a client's first reconnections, so that one which was just started again is found, and
    // short enough for a system without any to say so.
    pausesMs: [250, 750, 1_500],
  },
  generate: {
    // Idem: in a rollout, the second decoder may be the next to go.
    atOnceMax: 2,
    // A decoder that is started again, or its neighbour, is found meanwhile; a third loss is bad luck enough.
    pausesMs: [250, 250],
  },
} satisfies Record<string, RetryPolicy>;

/** `unavailable`, with what a peer's absence cost and whether another may be there. */
export class PeerAbsent extends Fault {
  /** It refused at once: no work was lost, so that asking again costs nothing. */
  readonly refused: boolean;
  /** Some other peer was not found absent lately. */
  readonly othersLeft: boolean;

  constructor(
    { code, detail, message, retryAfterS }: Fault,
    about: { refused: boolean; othersLeft: boolean; cause?: unknown },
  ) {
    super(code, detail, { internal: message, retryAfterS, cause: about.cause });
    this.refused = about.refused;
    this.othersLeft = about.othersLeft;
  }
}

/** How long a call has left to be answered. */
interface Timed {
  /** Milliseconds. */
  remainingMs(): number;
}

/** The tries of one call. */
export interface Tries {
  /** After a try that failed: the milliseconds until the next, 0 for at once, undefined where the failure stands. */
  again(error: unknown): number | undefined;
}

/** Begins the tries of a call, for each method that has a policy. */
export type Retries = { readonly [K in keyof typeof retryPolicies]: (call: Timed) => Tries };

/** One for a gateway. Each service has a budget of its own: trouble with the encoders must not use up the decoders' second tries. */
export function createRetries(): Retries {
  const encode = new RetryBudget();
  const generate = new RetryBudget();
  return {
    encode: (call) => beginTries(retryPolicies.encode, encode, call),
    generate: (call) => beginTries(retryPolicies.generate, generate, call),
  };
}

function beginTries({ atOnceMax, pausesMs }: RetryPolicy, budget: RetryBudget, call: Timed): Tries {
  let atOnceLeft = atOnceMax;
  const pausesLeft = [...pausesMs];
  budget.call();
  return {
    again(error) {
      const fault = toFault(error);
      if (fault.code !== "unavailable") return undefined;
      const { refused, othersLeft } = fault instanceof PeerAbsent ? fault : { refused: false, othersLeft: false };
      const atOnce = othersLeft && atOnceLeft > 0;
      const pauseMs = atOnce ? 0 : pausesLeft[0];
      if (pauseMs === undefined || pauseMs >= call.remainingMs()) return undefined;
      if (!refused && !budget.take()) return undefined;
      if (atOnce) atOnceLeft--;
      else pausesLeft.shift();
      return pauseMs;
    },
  };
}

// One call in five may be a second try; a burst of failures may use what quiet times have saved.
const budgetShare = 0.2;
// A burst that a restart of one peer of a few brings about.
const budgetMax = 20;

/** Bounds second tries after lost work to a share of all calls, so that a service in trouble is not buried under them. */
export class RetryBudget {
  #saved = budgetMax;

  /** A first try. */
  call(): void {
    this.#saved = Math.min(budgetMax, this.#saved + budgetShare);
  }

  /** Whether one more try may be made; takes it from the budget. */
  take(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }
}

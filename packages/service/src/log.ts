/** The levels that a service's configuration may choose from. */
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

export type LogLevel = (typeof logLevels)[number];

/** Writes one line: what it is about, then the sentence. */
export interface Log {
  (about: object, message?: string): void;
  (message: string): void;
}

/** Where a service says what happens. Whoever starts it brings one: pino in Node. */
export interface Logger {
  readonly debug: Log;
  readonly info: Log;
  readonly warn: Log;
  readonly error: Log;
  /** A logger that adds these to each of its lines. */
  child(bindings: object): Logger;
}

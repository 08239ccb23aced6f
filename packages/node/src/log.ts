import { Fault, type Logger, type LogLevel } from "@florence/service";
import { type DestinationStream, destination, pino, stdSerializers } from "pino";

// Names under which secrets and users' data would appear. A Secret redacts itself; this catches what others log.
const redactedNames = ["authorization", "cookie", "password", "token", "apiKey", "api_key", "image", "prompt"];

/** A JSON logger on stderr, so that stdout stays free for answers. Synchronous: the last line before an exit counts. */
export function createLogger(options: {
  name: string;
  level: LogLevel;
  stream?: DestinationStream;
  /** What each line says besides, asked when it is written: which call it belongs to. */
  fields?: () => object;
}): Logger {
  return pino(
    {
      name: options.name,
      level: options.level,
      ...(options.fields && { mixin: options.fields }),
      redact: { paths: redactedNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: "[redacted]" },
      serializers: { err: serializeError, error: serializeError },
    },
    options.stream ?? destination({ fd: 2, sync: true }),
  );
}

/** A Fault with its code, its public detail and the error behind it; other errors as pino shows them. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { type, message, stack } = stdSerializers.err(error);
  const fault = error instanceof Fault ? { code: error.code, detail: error.detail } : {};
  return { type, message, stack, ...fault };
}

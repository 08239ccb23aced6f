/** One server-sent event; `event` is its name, `data` goes out as JSON. */
export interface ServerSentEvent {
  readonly event: string;
  readonly data: unknown;
}

/** JSON holds no raw line break, so one data line is always enough. */
export function encodeEvent({ event, data }: ServerSentEvent): Uint8Array {
  return new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

export interface EventStreamOptions {
  /** Runs when the stream ends in any way: read to the end, or given up by the reader. */
  readonly onEnd: () => void;
  /** When it fires, a reader that takes nothing any more is cut off after `graceMs`. */
  readonly signal: AbortSignal;
  readonly graceMs: number;
}

/**
 * Turns events into a response body. An event is asked for only when the reader has taken the one before, so a slow
 * reader holds back its own call and nothing piles up here.
 */
export function eventStream(
  events: AsyncIterator<ServerSentEvent>,
  options: EventStreamOptions,
): ReadableStream<Uint8Array> {
  let ended = false;
  let cutOff: ReturnType<typeof setTimeout> | undefined;
  const end = () => {
    if (ended) return;
    ended = true;
    clearTimeout(cutOff);
    options.signal.removeEventListener("abort", onAbort);
    void events.return?.()?.catch(() => {}); // What the events' source has to say about its end, it has said or logged.
    options.onEnd();
  };
  const onAbort = () => {
    cutOff = setTimeout(() => {
      controller?.error(options.signal.reason);
      end();
    }, options.graceMs);
  };
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  return new ReadableStream<Uint8Array>(
    {
      start(theController) {
        controller = theController;
        if (options.signal.aborted) onAbort();
        else options.signal.addEventListener("abort", onAbort, { once: true });
      },
      async pull(theController) {
        const next = await events.next();
        if (ended) return;
        if (next.done) {
          theController.close();
          end();
        } else {
          theController.enqueue(encodeEvent(next.value));
        }
      },
      cancel: end,
    },
    { highWaterMark: 1 },
  );
}

/**
 * What `work` comes to. Rejects with the signal's reason where it has not come to anything `graceMs` after that fired: a callee that
 * never settles goes on unheard, and its caller goes on without it. The grace is for work that ends by itself, with what it has so far.
 */
export function endedBy<T>(work: Promise<T>, signal: AbortSignal, graceMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onAbort = () => {
      timer = setTimeout(() => reject(signal.reason), graceMs);
    };
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** The Server-Timing field of an answer, from milliseconds by stage: a browser's tools show it beside the request. */
export function serverTiming(timingMs: Readonly<Record<string, number>>): string {
  return Object.entries(timingMs)
    .map(([stage, ms]) => `${stage};dur=${ms}`)
    .join(", ");
}

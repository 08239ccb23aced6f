/** The caller's own id where it is short and plain enough to be echoed and logged, else a new one. */
export function chooseRequestId(sent: string | undefined): string {
  return sent !== undefined && /^[\w.-]{1,128}$/.test(sent) ? sent : crypto.randomUUID();
}

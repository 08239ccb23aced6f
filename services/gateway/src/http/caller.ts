import { Fault } from "@florence/service";

/**
 * A check that a request is addressed to one of these hosts (`*` for any), and that no page of another site sends it. It keeps web pages
 * that somebody looks at from driving a server on the same machine: by a name of their own that resolves to it, or blindly by a form.
 * The check throws `caller_forbidden`.
 */
export function callerCheck(hosts: readonly string[]): (request: Request) => void {
  const allowed = new Set(hosts.map((host) => host.toLowerCase()));
  return ({ url, method, headers }) => {
    const { hostname } = new URL(url);
    if (!allowed.has("*") && !allowed.has(hostname)) {
      throw new Fault(
        "caller_forbidden",
        "The Host header names none of this server's names (FLORENCE_ALLOWED_HOSTS).",
      );
    }
    if (method !== "GET" && method !== "HEAD" && headers.get("sec-fetch-site") === "cross-site") {
      throw new Fault("caller_forbidden", "Pages of other sites may not call this server.");
    }
  };
}

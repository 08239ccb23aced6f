import type { IncomingHttpHeaders } from "node:http";
import type { HubSettings } from "./config.ts";
import { HubError, Transient } from "./error.ts";
import type { ModelName } from "./name.ts";

/** Throws what an answer that is no success means: a HubError that says what to do, or a Transient. */
export function refuse(
  { status, headers }: { status: number; headers: IncomingHttpHeaders },
  { repository, revision }: ModelName,
  { endpoint, token }: HubSettings,
): never {
  const host = new URL(endpoint).host;
  const code = headers["x-error-code"];
  if (code === "GatedRepo") {
    const then = token ? "" : ", and give a token of that account in HF_TOKEN";
    throw new HubError(
      "hub_gated",
      `${repository} is given only to those who accept its terms: do so at ${endpoint}/${repository}${then}.${said(headers)}`,
    );
  }
  if (code === "RevisionNotFound")
    throw new HubError("hub_revision_missing", `${repository} has no revision ${revision} on ${host}.`);
  if (status === 401 && token)
    throw new HubError(
      "hub_token_refused",
      `${host} refuses the token: look at HF_TOKEN, or at the login's token file.`,
    );
  // Without a token a hub answers 401 for what does not exist too: it does not tell strangers which names are taken.
  if (status === 401 || status === 404)
    throw new HubError(
      "hub_repository_missing",
      `There is no ${repository} on ${host}${token ? ", or this token may not see it" : ", or it is private: then set HF_TOKEN"}.`,
    );
  if (status === 403)
    throw new HubError(
      "hub_gated",
      `${host} does not give ${repository} to this account (403): look at ${endpoint}/${repository}.${said(headers)}`,
    );
  if (status === 408 || status === 429 || status >= 500)
    throw new Transient(`${host} answers ${status}`, 1000 * (Number(headers["retry-after"]) || 0));
  throw new HubError("hub_answer_invalid", `${host} answers ${status} for ${repository}: is HF_ENDPOINT right?`);
}

/** The hub's own words: it knows, say, which permission a token lacks. */
function said({ "x-error-message": words }: IncomingHttpHeaders): string {
  return typeof words === "string" ? ` It says: ${words.slice(0, 200)}` : "";
}

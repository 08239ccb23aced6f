import { delimiter } from "node:path";

/** What the environment says about where programs are. */
export interface ServerEnv {
  /** NATS_SERVER_BIN: a nats-server to use before any other. */
  readonly binary: string | undefined;
  /** The folders of PATH, and /usr/sbin, where Debian installs nats-server and which is not on every PATH. */
  readonly folders: readonly string[];
}

/** Reads NATS_SERVER_BIN and PATH. */
export function readEnv(env: NodeJS.ProcessEnv = process.env): ServerEnv {
  const folders = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return { binary: env.NATS_SERVER_BIN || undefined, folders: [...folders, "/usr/sbin"] };
}

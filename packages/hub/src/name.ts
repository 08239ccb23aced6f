import { HubError } from "./error.ts";

/** A checkpoint on a hub. */
export interface ModelName {
  /** owner/name */
  readonly repository: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

/** Microsoft's four checkpoints, as safetensors and with everything that answers need beside them. */
export const shortNames: Readonly<Record<string, string>> = Object.freeze({
  base: "florence-community/Florence-2-base",
  large: "florence-community/Florence-2-large",
  "base-ft": "florence-community/Florence-2-base-ft",
  "large-ft": "florence-community/Florence-2-large-ft",
});

/** Reads owner/name, owner/name@revision or a short name; undefined for a text that cannot be one, such as a path. */
export function parseModelName(text: string): ModelName | undefined {
  const [, name = "", revision = "main"] = /^([^@]+)(?:@(.+))?$/.exec(text) ?? [];
  const repository = Object.hasOwn(shortNames, name) ? shortNames[name] : name;
  if (repository === undefined || !isRepository(repository) || !isRevision(revision)) return undefined;
  return { repository, revision };
}

/** The same for a text that must be a name. Throws hub_name_invalid. */
export function requireModelName(text: string): ModelName {
  const name = parseModelName(text);
  if (name) return name;
  throw new HubError(
    "hub_name_invalid",
    `${text} is no name on a hub: it is owner/name, owner/name@revision or one of ${Object.keys(shortNames).join(", ")}.`,
  );
}

// The hub's own rules. They leave nothing that could lead out of a folder, and "--" to stand for the slash in a folder's name.
const isRepository = (text: string): boolean =>
  /^[\w-][\w.-]{0,95}\/[\w-][\w.-]{0,95}$/.test(text) && !/--|\.\./.test(text);

const isRevision = (text: string): boolean => /^\w[\w.-]*(\/\w[\w.-]*)*$/.test(text) && !text.includes("..");

/** Something that the user can act on: shown as its message alone, without a stack. */
export class Complaint extends Error {
  name = "Complaint";
  exitCode;

  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

// Each row: what a tool's output contains, and what that means for the user. The first match wins.
const causes = [
  [/ENOSPC|no space left/i, "The disk is full: free some space and try again."],
  [/ERR_PNPM_OUTDATED_LOCKFILE/, "pnpm-lock.yaml does not match the package.json files: run `pnpm install` once."],
  [/\bE404\b|ETARGET|ERR_PNPM_NO_MATCHING|ERR_PNPM_FETCH_404/, "The package registry does not have it."],
  [
    /ENOTFOUND|EAI_AGAIN|E?TIMEDOUT|timed out|ECONN\w+|ENETUNREACH|dns error|error sending request|tunnel/i,
    "The package registry cannot be reached: check the network, and HTTPS_PROXY if there is a proxy.",
  ],
  [/EACCES|EPERM|EROFS|permission denied|read-only file/i, "A folder that must be written cannot be written."],
];

/** Says in one sentence why an installer failed, judging by its output; nothing when that is unclear. */
export function causeOf(output) {
  return causes.find(([pattern]) => pattern.test(output))?.[1] ?? "";
}

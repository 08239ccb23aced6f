import { eachLine, type Rule, resolveRelative } from "./source.ts";

/** No file names a folder of somebody's machine. Inside a container image the folders are our own. */
export const noMachinePaths: Rule = (files) => {
  const containers = /^deploy\/|(^|\/)Dockerfile/;
  return eachLine(
    files.filter(({ path }) => !containers.test(path)),
    (line) => /(?<![\w.:/-])\/(?:home|Users|root|work|tmp)\/[\w.-]+|[A-Z]:\\Users\\/.exec(line)?.[0],
  );
};

/** The user's own settings decide where packages come from: no file names a registry. */
export const noRegistryHosts: Rule = (files) => [
  ...eachLine(
    files,
    (line) => /\b(?:registry|npm)\.[\w-]*(?:npm|yarnpkg|pkg)[\w-]*\.\w+|^\s*registry\s*=/.exec(line)?.[0],
  ),
  ...eachLine(
    files.filter(({ path }) => /(^|\/)(pnpm-lock\.yaml|package-lock\.json|yarn\.lock)$/.test(path)),
    (line) => /(?:tarball|resolved)\S*\s+.*https?:\/\/\S+/.exec(line)?.[0],
  ),
];

/** Versions stand once, in the catalog of pnpm-workspace.yaml. */
export const versionsComeFromTheCatalog: Rule = (files) =>
  files.flatMap(({ path, text }) => {
    if (!/(^|\/)package\.json$/.test(path)) return [];
    const manifest = JSON.parse(text) as Record<string, Record<string, string> | undefined>;
    const kinds = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
    return kinds
      .flatMap((kind) => Object.entries(manifest[kind] ?? {}))
      .filter(([, version]) => version !== "catalog:" && version !== "workspace:*")
      .map(([name, version]) => `${path}: ${name} is "${version}", not "catalog:" or "workspace:*"`);
  });

/** A Markdown file starts with its title. */
export const documentsHaveTitles: Rule = (files) =>
  files
    .filter(({ path, text }) => path.endsWith(".md") && !/^# \S/.test(text))
    .map(({ path }) => `${path}: does not start with a title`);

/** A relative link or image in Markdown leads to a file or folder. `paths` are all files there are. */
export const linksResolve =
  (paths: ReadonlySet<string>): Rule =>
  (files) => {
    const exists = (target: string) => paths.has(target) || [...paths].some((path) => path.startsWith(`${target}/`));
    return eachMarkdownLink(files, (from, link) => {
      const target = resolveRelative(from, link.replace(/#.*$/, "")).replace(/\/$/, "");
      return target === "" || exists(target) ? undefined : `${link} leads nowhere`;
    });
  };

function eachMarkdownLink(
  files: Parameters<Rule>[0],
  complain: (from: string, link: string) => string | undefined,
): string[] {
  return files
    .filter(({ path }) => path.endsWith(".md"))
    .flatMap((file) => {
      const prose = file.text.replace(/```[\s\S]*?```|`[^`\n]*`/g, "");
      const links = [...prose.matchAll(/\]\(([^)\s]+)[^)]*\)|(?:src|href)="([^"]+)"/g)];
      return links
        .map((match) => match[1] ?? match[2] ?? "")
        .filter((link) => !/^([a-z]+:|#|\/)/.test(link))
        .flatMap((link) => complain(file.path, link) ?? [])
        .map((complaint) => `${file.path}: ${complaint}`);
    });
}

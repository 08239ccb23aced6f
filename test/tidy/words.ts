import { codeOf, type Rule } from "./source.ts";

const word = /pict[u]re/i; // Written so that this file keeps the rule too.
// The key of an image's path in what `florence run --json` prints, kept for scripts, and in goldens files that people have.
const allowed: Readonly<Record<string, RegExp>> = {
  "apps/cli/src/output.ts": /^\s*pict[u]re: image,$/,
  "apps/cli/test/cli.test.ts": /\bline\.pict[u]re\b/,
  "packages/model/src/verify/goldens.ts": /\bimage = c\?\.pict[u]re\b/,
  "packages/model/test/verify.test.ts": /^\s*\{ pict[u]re:/,
};

/** What the model looks at is an image, in every name. Texts may say what they like: older files hold the other word as a key. */
export const oneWordForImages: Rule = (files) =>
  files.flatMap(({ path, text }) => {
    if (word.test(path)) return [`${path}: say image`];
    if (!/\.(ts|mjs|proto)$/.test(path)) return [];
    const exception = allowed[path];
    return codeOf(text)
      .split("\n")
      .flatMap((line, i) => (word.test(line) && !exception?.test(line) ? [`${path}:${i + 1}: say image`] : []));
  });

import { eachLine, isTest, isTypeScript, type Rule, type SourceFile } from "./source.ts";

const shipped = ({ path }: SourceFile): boolean => /^(packages|services|apps)\//.test(path) && !isTest(path);
const isCode = ({ path }: SourceFile): boolean => /\.(ts|mjs)$/.test(path);

/** The environment is read in one place of each program, so that its names stand in one list. */
export const environmentOnlyInConfig: Rule = (files) => {
  const mayRead = /(^|\/)(config|env|environment)\.ts$|^(scripts|lab)\/|(^|\/)test\//;
  return eachLine(
    files.filter(({ path }) => isTypeScript(path) && !mayRead.test(path)),
    (line) =>
      /\bprocess\.env\b/.test(line) ? "process.env belongs in config.ts, env.ts or environment.ts" : undefined,
  );
};

/** A limit says why it is that number, on its line or above; one comment may cover lines that follow each other. */
export const limitsCarryTheirReason: Rule = (files) =>
  files
    .filter((file) => isCode(file) && (shipped(file) || file.path.startsWith("scripts/")))
    .flatMap(({ path, text }) => {
      let covered = false;
      return text.split("\n").flatMap((line, i) => {
        const name = limitNamedBy(line);
        const comment = /\/\/|\*\/\s*$/.test(line);
        covered = comment || (covered && name !== undefined);
        return name === undefined || covered ? [] : [`${path}:${i + 1}: ${name} has no comment that gives its reason`];
      });
    });

/** The name of the limit that a line sets to a number, if it does that. */
function limitNamedBy(line: string): string | undefined {
  const match = /^\s*(?:export )?(?:const|static readonly) (\w+)(?:: number)? = (\(*[\d_.]+\b[^;"'`]*);/.exec(line);
  const [, name = "", value] = match ?? [];
  const isUnit = /^(second|minute|hour|day)Ms$|^u?int\d+(Max|Min)$/.test(name); // A definition, not a choice.
  return match && isLimitName(name) && !isUnit && value !== "0" ? name : undefined;
}

/** Whether one of the name's words says that the number bounds something. */
function isLimitName(name: string): boolean {
  const words = name.split(/_|(?<=[a-z0-9])(?=[A-Z])/).map((word) => word.toLowerCase());
  return words.some((word) => /^(max|min|limit|ms|seconds|timeout|capacity|retries|attempts)$/.test(word));
}

/** stdout belongs to the command line's answers; services and packages log through the logger. */
export const noConsoleLog: Rule = (files) =>
  eachLine(
    files.filter((file) => isCode(file) && !/^(apps\/cli|scripts|lab)\//.test(file.path)),
    (line) => (/\bconsole\.(log|info|debug)\(/.test(line) ? "console output belongs to apps/cli" : undefined),
  );

/** Every test runs, always. */
export const everyTestRuns: Rule = (files) =>
  eachLine(files.filter(isCode), (line) =>
    /\b(test|it|describe|suite)(\.\w+)*\.(only|skip|todo|fails)\(/.test(line) ? "a test is left out" : undefined,
  );

/** What is not done is written down where work is planned, not in the code. */
export const noUnfinishedBusiness: Rule = (files) =>
  eachLine(files, (line) =>
    /\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b/.test(line) ? "a note to do something later" : undefined,
  );

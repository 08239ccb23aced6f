/** A text file of the repository; `path` is relative to the root, with forward slashes. */
export type SourceFile = { readonly path: string; readonly text: string };

/** A broken rule, as one line that names the place. */
export type Violation = string;

/** One style rule: reads the files, returns what breaks it. Pure, so that a test can plant a violation. */
export type Rule = (files: readonly SourceFile[]) => Violation[];

export const isTypeScript = (path: string): boolean => path.endsWith(".ts");
export const isTest = (path: string): boolean => /(^|\/)test\//.test(path);

/** The violations of a rule that looks at one line at a time. */
export function eachLine(
  files: readonly SourceFile[],
  complain: (line: string, previous: string) => string | undefined,
): Violation[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.split("\n");
    return lines.flatMap((line, i) => {
      const complaint = complain(line, lines[i - 1] ?? "");
      return complaint === undefined ? [] : [`${path}:${i + 1}: ${complaint}`];
    });
  });
}

const importPatterns = [
  /^\s*(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']/gm,
  /^\s*import\s*["']([^"']+)["']/gm,
  /\bimport\(\s*["']([^"']+)["']\s*\)/g,
];

/** The module specifiers that a source file imports or re-exports, types included. */
export function importsOf(text: string): string[] {
  return importPatterns.flatMap((pattern) => [...text.matchAll(pattern)].map((match) => match[1] ?? ""));
}

/** The module specifiers that are still there at run time: without `import type` and `export type`. An inline `type` leaves its import. */
export function valueImportsOf(text: string): string[] {
  return importsOf(text.replace(/^\s*(?:import|export)\s+type\s+[\w{*][^;"'`]*?\bfrom\s*["'][^"']+["']/gm, ""));
}

/** The code without its comments and without the texts in it, so that a word found is a word of the program. Lines stay where they are. */
export function codeOf(text: string): string {
  const pattern =
    /(?<comment>\/\*[\s\S]*?\*\/|(?<![:\\/])\/\/[^\n]*)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|(?<template>`(?:[^`\\]|\\.)*`)/g;
  return text.replace(pattern, (whole: string, ...rest) => {
    const { template } = rest.at(-1) as { template?: string };
    const kept = [...(template ?? "").matchAll(/\$\{([^}]*)\}/g)].map((match) => match[1]).join(" ");
    return `""${kept}${"\n".repeat(whole.split("\n").length - kept.split("\n").length)}`;
  });
}

/** The files that a source file starts as workers: `new URL("./x.ts", import.meta.url)`. */
export function workersOf(text: string): string[] {
  const pattern = /new URL\(\s*["'](\.[^"']+\.ts)["'],\s*import\.meta\.url\s*,?\s*\)/g;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? "");
}

/** Where a relative specifier in `from` points, as a path from the root. It may climb out: "../x". */
export function resolveRelative(from: string, specifier: string): string {
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") {
      if (parts.length === 0 || parts.at(-1) === "..") parts.push("..");
      else parts.pop();
    } else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** The workspace package that a path belongs to; "" is the root package. */
export function packageOf(path: string): string {
  return /^(?:proto|lab|(?:packages|services|apps|tools)\/[^/]+)(?=\/)/.exec(path)?.[0] ?? "";
}

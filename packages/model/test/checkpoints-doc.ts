// docs/checkpoints.md with the table of what can be loaded, made from the cases that the tests try:
// node packages/model/test/checkpoints-doc.ts

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkpointCases } from "./checkpoint-cases.ts";
import { root } from "./model-fixture.ts";

export const checkpointsDocFile = join(root, "docs/checkpoints.md");

const [start, end] = ["<!-- table: made from packages/model/test/checkpoint-cases.ts -->", "<!-- end of table -->"];

/** The document with its table as it should be. */
export function checkpointsDoc(): string {
  const document = readFileSync(checkpointsDocFile, "utf8");
  const [before, after] = [document.split(start)[0], document.split(end)[1]];
  return `${before}${start}\n\n${table()}\n\n${end}${after}`;
}

function table(): string {
  const rows = [["folder", "what happens"], ...checkpointCases.map(({ folder, happens }) => [folder, happens])];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const line = (cells: readonly string[], fill = " ") =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] as number, fill)).join(" | ")} |`;
  return [line(rows[0] as string[]), line(["", ""], "-"), ...rows.slice(1).map((row) => line(row))].join("\n");
}

if (import.meta.main) writeFileSync(checkpointsDocFile, checkpointsDoc());

import { type ConfigSpec, describeConfig } from "@florence/service";

/** A Markdown table, padded as the formatter does it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((cells) => (cells[i] as string).length)));
  const line = (cells: readonly string[], fill = " ") =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] as number, fill)).join(" | ")} |`;
  const rule = line(
    head.map(() => "---"),
    "-",
  );
  return [line(head), rule, ...rows.map((cells) => line(cells))].join("\n");
}

/** The specs as the table of a README: variable, default and meaning. */
export function settingsTable(...specs: readonly ConfigSpec[]): string {
  const rows = specs.flatMap(describeConfig);
  return table(
    ["variable", "default", "meaning"],
    rows.map(({ variable, default: value, help }) => [`\`${variable}\``, value, help]),
  );
}

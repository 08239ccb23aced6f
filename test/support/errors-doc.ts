// docs/errors.md, made from the fault table:
//   node test/support/errors-doc.ts
// A test compares the two.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ErrorCode, type FaultCode, faultTable, isFaultCode, status } from "@florence/service/fault";

export const errorsDocFile = fileURLToPath(new URL("../../docs/errors.md", import.meta.url));

/** The text of docs/errors.md. */
export function errorsDoc(): string {
  const codes = Object.keys(faultTable) as ErrorCode[];
  const requests = codes.filter(isFaultCode);
  const checkpoints = codes.filter((code) => !isFaultCode(code));
  return `# Errors

Made from the table in \`packages/service/src/fault.ts\` by \`node test/support/errors-doc.ts\`. Codes are stable: a program may act on them. The detail that comes with one says what is wrong this time, and is for people.

## Requests

Over HTTP an error is a problem document (\`application/problem+json\`) with the code in \`code\`; one task's failure stands in that task's place. Over gRPC the code travels in the trailers.

${table(["code", "HTTP", "gRPC", "title", "when, and what to do"], requests.map(requestRow))}

## Checkpoints and builds

On the command line and in the log of a program that starts. No caller of a service is told one of these, because their messages name files; a caller who meets one all the same is told \`internal\`.

${table(
  ["code", "title", "when, and what to do"],
  checkpoints.map((code) => [`\`${code}\``, faultTable[code].title, faultTable[code].help]),
)}
`;
}

function requestRow(code: FaultCode): string[] {
  const { http, grpc, title, help } = faultTable[code];
  const [name] = Object.entries(status).find(([, number]) => number === grpc) as [string, number];
  return [`\`${code}\``, String(http), name, title, help];
}

/** A Markdown table, padded as the formatter does it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((cells) => (cells[i] as string).length)));
  const line = (cells: readonly string[], fill = " ") =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] as number, fill)).join(" | ")} |`;
  const rule = line(
    head.map(() => "---"),
    "-",
  );
  return [line(head), rule, ...rows.map((cells) => line(cells))].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(errorsDocFile, errorsDoc());

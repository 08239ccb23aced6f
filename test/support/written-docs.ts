// What documents say that the code says already, made from the code:
//   npm run docs
// A test compares the two.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decoderSpecs } from "@florence/decoder/config";
import { encoderSpecs } from "@florence/encoder/config";
import { gatewaySpecs } from "@florence/gateway/config";
import { checkpointCases } from "@florence/model/testing";
import type { ConfigSpec } from "@florence/service";
import { type ErrorCode, type FaultCode, faultTable, isFaultCode, status } from "@florence/service/fault";
import { settingsTable, table } from "./markdown.ts";
import { alertsYaml, runbookDoc } from "./observability/alerts.ts";
import { dashboards, grafanaJson } from "./observability/dashboards.ts";
import { metricsDoc } from "./observability/metrics-doc.ts";

/** A file of the repository, and the text that it should have. */
export interface WrittenDoc {
  readonly path: string;
  readonly file: string;
  readonly wanted: () => string;
}

export const writtenDocs: readonly WrittenDoc[] = [
  doc("docs/errors.md", errorsDoc),
  doc("docs/checkpoints.md", checkpointsDoc),
  readme("services/gateway/README.md", gatewaySpecs),
  readme("services/encoder/README.md", encoderSpecs),
  readme("services/decoder/README.md", decoderSpecs),
  doc("docs/metrics.md", metricsDoc),
  doc("docs/runbook.md", runbookDoc),
  doc("deploy/observability/alerts.yaml", alertsYaml),
  ...dashboards.map((board) => doc(`deploy/observability/dashboards/${board.name}.json`, () => grafanaJson(board))),
];

function doc(path: string, wanted: (now: string) => string): WrittenDoc {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
  return { path, file, wanted: () => wanted(existsSync(file) ? readFileSync(file, "utf8") : "") };
}

/** A service's page, with its table of settings in place of the one that stands there. */
function readme(path: string, specs: Readonly<Record<string, ConfigSpec>>): WrittenDoc {
  return doc(path, (now) => now.replace(/^\| variable .*(?:\n\|.*)*/m, () => settingsTable(...Object.values(specs))));
}

const tableOfFolders = /(<!-- table: made from .* -->).*(<!-- end of table -->)/s;

/** docs/checkpoints.md, with the table of what can be loaded: the folders that the tests try. */
function checkpointsDoc(now: string): string {
  const rows = checkpointCases.map(({ folder, happens }) => [folder, happens]);
  return now.replace(
    tableOfFolders,
    (_, start, end) => `${start}\n\n${table(["folder", "what happens"], rows)}\n\n${end}`,
  );
}

/** The text of docs/errors.md. */
function errorsDoc(): string {
  const codes = Object.keys(faultTable) as ErrorCode[];
  const requests = codes.filter(isFaultCode);
  const checkpoints = codes.filter((code) => !isFaultCode(code));
  return `# Errors

Made from the table in \`packages/service/src/fault.ts\` by \`npm run docs\`. Codes are stable: a program may act on them. The detail that comes with one says what is wrong this time, and is for people.

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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { file, wanted } of writtenDocs) writeFileSync(file, wanted());
}

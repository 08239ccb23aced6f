// The style guide, executable. Each rule is first shown a violation, so that it provably can fail,
// and something legal close to it; then it reads the repository.

import { describe, expect, test } from "vitest";
import * as code from "./tidy/code.ts";
import { handWrittenFiles, repositoryPaths } from "./tidy/files.ts";
import * as imports from "./tidy/imports.ts";
import * as runtime from "./tidy/runtime.ts";
import type { Rule } from "./tidy/source.ts";
import * as text from "./tidy/text.ts";
import * as words from "./tidy/words.ts";

type Example = [path: string, text: string];
/** `finds`: how many violations are planted in `bad`; one in each file unless it says otherwise. */
type Row = { rule: Rule; says: string; bad: Example[]; finds?: number; good: Example[] };

const paths = repositoryPaths();
// The planted violations below would be found in this very file.
const files = handWrittenFiles(paths).filter(({ path }) => path !== "test/tidy.test.ts");
const manifest = (value: object) => JSON.stringify(value);

const rules: Row[] = [
  {
    rule: imports.importsFollowTheTable,
    says: "packages import each other only as the table allows",
    bad: [
      ["packages/model/src/a.ts", 'import { x } from "@florence/grpc";'],
      ["packages/embeddings/src/a.ts", 'import type { X } from "@florence/proto/model";'],
      ["packages/service/src/a.ts", 'export * from "@florence/model/tasks";'],
      ["services/gateway/src/a.ts", 'import { x } from "@florence/model";'],
      ["services/gateway/src/b.ts", 'import {\n  x,\n} from "@florence/model/inference";'],
      ["services/encoder/src/a.ts", 'const x = await import("@florence/decoder");'],
      ["apps/cli/src/a.ts", 'import "@florence/lab";'],
      ["services/encoder/src/b.ts", 'import { x } from "@florence/nats-server";'],
      ["packages/embeddings/src/b.ts", 'import { x } from "@florence/nats-server/testing";'],
    ],
    good: [
      ["services/gateway/src/a.ts", 'import { x } from "@florence/model/tasks";'],
      ["services/decoder/src/a.ts", 'import { x } from "@florence/model/inference";'],
      ["apps/cli/src/a.ts", 'import { x } from "@florence/gateway";'],
      ["apps/cli/src/b.ts", 'import { x } from "@florence/nats-server";'],
      ["lab/bench/a.ts", 'import { x } from "@florence/nats-server";'],
      ["services/encoder/test/a.ts", 'import { x } from "@florence/nats-server/testing";'],
    ],
  },
  {
    rule: imports.relativeImportsStayHome,
    says: "relative imports stay in their package",
    bad: [
      ["services/gateway/src/a.ts", 'import { x } from "../../encoder/src/b.ts";'],
      ["test/a.test.ts", 'import { x } from "../packages/model/src/b.ts";'],
    ],
    good: [["services/gateway/test/a.test.ts", 'import { x } from "../src/b.ts";']],
  },
  {
    rule: imports.oneFolderKnowsTheRuntime,
    says: "only packages/model/src/engine imports the ONNX runtime",
    bad: [["packages/model/src/a.ts", 'import * as ort from "onnxruntime-node";']],
    good: [["packages/model/src/engine/a.ts", 'import * as ort from "onnxruntime-node";']],
  },
  {
    rule: runtime.coreKnowsNoRuntime,
    says: "what the gateway's core reaches runs anywhere",
    bad: [
      ["services/gateway/src/app.ts", 'import { a } from "./a.ts";\nimport { x } from "@florence/x/deep";'],
      ["services/gateway/src/a.ts", 'import { lookup } from "node:dns";\nexport type X = NodeJS.Timeout;'],
      ["packages/x/package.json", manifest({ name: "@florence/x", exports: { "./deep": "./src/deep.ts" } })],
      ["packages/x/src/deep.ts", 'export { y } from "./y.ts";\nimport { type Z } from "pino";'],
      ["packages/x/src/y.ts", 'export const y = Buffer.from("");\nif (process.pid > 1) setTimeout(y).unref();'],
    ],
    finds: 5,
    good: [
      ["services/gateway/src/app.ts", 'import { a } from "./a.ts";\nimport type { B } from "./node/b.ts";'],
      [
        "services/gateway/src/a.ts",
        '// A Buffer; the process.\nexport const a: ArrayBuffer = x.process("process.env");',
      ],
      ["services/gateway/src/node/b.ts", 'import { lookup } from "node:dns";'],
    ],
  },
  {
    rule: runtime.oneFolderKnowsNode,
    says: "in the gateway only node/ and main.ts know Node",
    bad: [
      ["services/gateway/src/peers/a.ts", 'import type { LookupAddress } from "node:dns";'],
      ["services/gateway/src/http/a.ts", 'import { createClient } from "@florence/grpc";'],
      ["services/gateway/src/a.ts", 'import { serve } from "@hono/node-server";'],
    ],
    good: [
      ["services/gateway/src/node/a.ts", 'import { createServer } from "node:http";'],
      ["services/gateway/src/main.ts", 'import { run } from "@florence/node";'],
      ["services/gateway/test/a.test.ts", 'import { request } from "node:http";'],
    ],
  },
  {
    rule: words.oneWordForImages,
    says: "an image is called an image",
    bad: [
      ["packages/x/src/picture.ts", ""],
      ["packages/x/src/a.ts", "const pictureBytes = 1;"],
      ["packages/x/src/b.ts", `const text = \`\${aPicture.width} wide\`;`],
      ["proto/florence/v1/a.proto", "bytes picture = 1;"],
      ["apps/cli/src/output.ts", "const picture = 1;"],
    ],
    good: [
      [
        "packages/x/src/a.ts",
        `// A picture.\nconst key = "picture"; // Goldens hold this key.\nconst x = \`a picture \${image}\`;`,
      ],
      ["apps/cli/src/output.ts", "    picture: image,"],
    ],
  },
  {
    rule: imports.noDeadFiles,
    says: "every source file is in use",
    bad: [
      ["packages/x/package.json", manifest({ exports: { ".": "./src/a.ts" } })],
      ["packages/x/src/a.ts", "export const a = 1;"],
      ["packages/x/src/dead.ts", 'import { a } from "./a.ts";'],
    ],
    finds: 1,
    good: [
      ["packages/x/package.json", manifest({ exports: { ".": { import: "./src/a.ts" } } })],
      ["packages/x/src/a.ts", 'export * from "./b.ts";\nnew Worker(new URL("./worker.ts", import.meta.url));'],
      ["packages/x/src/b.ts", ""],
      ["packages/x/src/worker.ts", 'import "./used-by-worker.ts";'],
      ["packages/x/src/used-by-worker.ts", ""],
    ],
  },
  {
    rule: code.environmentOnlyInConfig,
    says: "only config.ts and env.ts read the environment",
    bad: [["services/encoder/src/session.ts", "const threads = process.env.THREADS ?? 4;"]],
    good: [["services/encoder/src/config.ts", "readEnv(process.env);"]],
  },
  {
    rule: code.limitsCarryTheirReason,
    says: "a limit carries its reason",
    bad: [
      ["packages/x/src/a.ts", "\nexport const imageBytesMax = 16 * 1024 * 1024;"],
      ["packages/x/src/b.ts", "const READ_TIMEOUT_MS = 5_000;"],
    ],
    good: [
      ["packages/x/src/a.ts", "const imageBytesMax = 16 * MiB; // A 24-megapixel JPEG is about 10 MiB."],
      ["packages/x/src/b.ts", "/** How long a lease lives: longer than any encode. */\nexport const leaseMs = 5_000;"],
      ["packages/x/src/c.ts", "const startMs = performance.now();\nconst symmetric = 3;"],
      ["packages/x/src/d.ts", "// Quick at first, then patient.\nconst waitMsMin = 200;\nconst waitMsMax = 30_000;"],
    ],
  },
  {
    rule: code.noConsoleLog,
    says: "only the command line prints",
    bad: [["services/encoder/src/a.ts", 'console.log("here");']],
    good: [["apps/cli/src/a.ts", "console.log(answer);"]],
  },
  {
    rule: code.everyTestRuns,
    says: "no test is left out or singled out",
    bad: [
      ["test/a.test.ts", 'test.skip("x", () => {});'],
      ["test/b.test.ts", 'describe.concurrent.only("x", () => {});'],
    ],
    good: [["test/a.test.ts", "items.skip(3);"]],
  },
  {
    rule: code.noUnfinishedBusiness,
    says: "no note to do something later",
    bad: [["packages/x/src/a.ts", "// TODO: later"]],
    good: [["packages/x/src/a.ts", "const todos = 1;"]],
  },
  {
    rule: text.noMachinePaths,
    says: "no path of somebody's machine",
    bad: [["docs/a.md", "run `/home/ada/florence/start`"]],
    good: [["docs/a.md", "GET https://example.com/home/page, or /path/to/model; mount it at /tmp"]],
  },
  {
    rule: text.noRegistryHosts,
    says: "no registry host",
    bad: [
      [".npmrc", "registry=https://example.com"],
      ["pnpm-lock.yaml", "resolution: {tarball: https://example.com/x.tgz}"],
      ["docs/a.md", "see https://registry.npmjs.org/"],
    ],
    good: [["pnpm-lock.yaml", "resolution: {integrity: sha512-abc}"]],
  },
  {
    rule: text.versionsComeFromTheCatalog,
    says: "versions come from the catalog",
    bad: [["apps/cli/package.json", manifest({ dependencies: { zod: "^4.0.0" } })]],
    good: [
      ["apps/cli/package.json", manifest({ dependencies: { zod: "catalog:", "@florence/model": "workspace:*" } })],
    ],
  },
  {
    rule: text.documentsHaveTitles,
    says: "documents start with a title",
    bad: [["README.md", "Welcome."]],
    good: [["README.md", "# Florence\n"]],
  },
  {
    rule: text.linksResolve(new Set(paths)),
    says: "links lead somewhere",
    bad: [
      ["README.md", "[x](no-such-file.md)"],
      ["README.md", '<img src="docs/no-such.png">'],
    ],
    good: [["test/fixtures/README.md", "[x](../../package.json#scripts) [y](https://example.com) `[z](nowhere)`"]],
  },
];

const asFiles = (examples: Example[]) => examples.map(([path, content]) => ({ path, text: content }));

describe.each(rules)("$says", ({ rule, bad, finds, good }) => {
  test("the rule sees a violation and lets its legal neighbour pass", () => {
    expect(rule(asFiles(bad))).toHaveLength(finds ?? bad.length);
    expect(rule(asFiles(good))).toEqual([]);
  });

  test("the repository keeps the rule", () => {
    expect(rule(files)).toEqual([]);
  });
});

test("the walk from the gateway's core gets into the packages", () => {
  const { files: reached } = runtime.reachOf(files, runtime.coreOf(files));
  for (const path of [
    "services/gateway/src/peers/agreement.ts",
    "packages/service/src/fault.ts",
    "packages/model/src/tasks.ts",
  ])
    expect(reached).toContain(path);
});

test("the rules read the repository, not an empty list", () => {
  const read = files.map(({ path }) => path);
  expect(read).toEqual(expect.arrayContaining(["package.json", "scripts/run.mjs", "test/tidy/source.ts"]));
  expect(read.filter((path) => path.startsWith("proto/gen/"))).toEqual([]);
});

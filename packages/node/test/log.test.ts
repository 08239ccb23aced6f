import { Fault, Secret } from "@florence/service";
import { expect, test } from "vitest";
import { createLogger } from "../src/index.ts";

function capture() {
  const lines: string[] = [];
  const logger = createLogger({ name: "test", level: "info", stream: { write: (line) => lines.push(line) } });
  return { logger, lines };
}

test("secrets and users' data stay out of the log", () => {
  const { logger, lines } = capture();
  logger.info({
    key: new Secret("hunter2"),
    authorization: "Bearer hunter2",
    request: { headers: { authorization: "hunter2" }, image: "hunter2", prompt: "hunter2" },
  });
  expect(lines.join()).not.toContain("hunter2");
  expect(lines.join()).toContain("[redacted]");
});

test("a Fault is logged with its code, its public detail and the error behind it", () => {
  const { logger, lines } = capture();
  const cause = new Error("disk full");
  logger.error({ err: new Fault("internal", "Something went wrong.", { internal: "write failed", cause }) });
  const { err } = JSON.parse(lines[0] ?? "{}");
  expect(err).toMatchObject({ code: "internal", detail: "Something went wrong." });
  expect(err.message).toContain("write failed");
  expect(err.message).toContain("disk full");
});

test("the level decides what is written", () => {
  const { logger, lines } = capture();
  logger.debug("quiet");
  logger.warn("loud");
  expect(lines).toHaveLength(1);
});

import { writeFileSync } from "node:fs";

/** A vitest reporter that writes `{ passed, failed }` to the file named by TEST_COUNTS_FILE. */
export default class CountReporter {
  onTestRunEnd(testModules, unhandledErrors) {
    let passed = 0;
    let failed = unhandledErrors.length;
    for (const testModule of testModules) {
      const before = failed;
      for (const test of testModule.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") passed += 1;
        if (state === "failed") failed += 1;
      }
      // A file that cannot be loaded, or whose hooks fail, has no failed test of its own.
      if (testModule.state() === "failed" && failed === before) failed += 1;
    }
    writeFileSync(process.env.TEST_COUNTS_FILE, JSON.stringify({ passed, failed }));
  }
}

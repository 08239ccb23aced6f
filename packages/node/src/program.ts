// What only a mistake in the code throws: then the place is what one needs to know.
const mistakes = [TypeError, RangeError, ReferenceError, SyntaxError];

/** Runs a program. An error ends it with exit code 1 and one line on stderr; what only a mistake in the code throws shows where. */
export async function runProgram(name: string, program: () => Promise<void>): Promise<void> {
  try {
    await program();
  } catch (error) {
    const isMistake = mistakes.some((kind) => error instanceof kind);
    const text = error instanceof Error ? (isMistake ? error.stack : error.message) : String(error);
    process.stderr.write(`${name}: ${text}\n`);
    process.exitCode = 1;
  }
}

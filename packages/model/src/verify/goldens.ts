import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ModelError } from "../errors.ts";

/** What is asked about an image. */
export interface Asked {
  /** A task's name or token. */
  readonly task: string;
  readonly input?: string | undefined;
}

/** An image to compare models on. */
export interface Sample {
  /** The image file's bytes. */
  readonly image: Uint8Array;
  /** What is asked about it; every task without input and two on a region in the middle, unless given. */
  readonly asked?: readonly Asked[];
}

/**
 * Reads a goldens file: JSON with `cases` of image, task and input, the images lying beside it. Older files say `picture` for `image`.
 * Throws option_invalid when the file or one of its images cannot be read, or when it holds no such cases.
 */
export function readGoldens(file: string): Sample[] {
  const byImage = new Map<string, Asked[]>();
  for (const { image, task, input } of readCases(file)) {
    const asked = byImage.get(image) ?? [];
    asked.push({ task, input });
    byImage.set(image, asked);
  }
  return [...byImage].map(([name, asked]) => ({ image: readImage(join(dirname(file), name)), asked }));
}

function readCases(file: string): ({ image: string } & Asked)[] {
  let cases: unknown;
  try {
    cases = (JSON.parse(readFileSync(file, "utf8")) as { cases?: unknown } | null)?.cases;
  } catch (cause) {
    throw new ModelError("option_invalid", `${file} cannot be read, or is not JSON.`, { cause });
  }
  if (!Array.isArray(cases) || cases.length === 0) throw new ModelError("option_invalid", `${file} holds no cases.`);
  return cases.map((c: Record<string, unknown> | null, i) => {
    const { image = c?.picture, task, input } = c ?? {};
    if (
      typeof image !== "string" ||
      typeof task !== "string" ||
      !["string", "undefined"].includes(typeof (input ?? undefined))
    )
      throw new ModelError("option_invalid", `Case ${i} of ${file} does not name its image and task.`);
    return { image, task, input: (input ?? undefined) as string | undefined };
  });
}

function readImage(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new ModelError("option_invalid", `The image ${file} cannot be read.`, { cause });
  }
}

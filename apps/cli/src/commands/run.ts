import { readFileSync } from "node:fs";
import { join, parse } from "node:path";
import { type Colour, formatNames, ModelError, parseColour } from "@florence/model";
import { precisions } from "@florence/model/settings";
import { Progress } from "@florence/node";
import { type Command, Option } from "commander";
import { addCheckpointFlags, type CheckpointFlags, checkpointVariables } from "../checkpoint-flags.ts";
import { type Answer, annotate } from "../client.ts";
import { readSettings } from "../config.ts";
import { drawAnswer, type ImageReading } from "../draw.ts";
import { describe, UsageError } from "../failure.ts";
import { loadModel } from "../model.ts";
import { imageJson, imageText, regionAnswers, warningLines } from "../output.ts";
import { startStack } from "../stack.ts";
import { readTasks, type TaskArgument } from "../task-argument.ts";

interface RunFlags extends CheckpointFlags {
  readonly task: readonly string[];
  readonly model?: string;
  readonly server?: string;
  readonly beams?: string;
  readonly maxNewTokens?: string;
  readonly lengthPenalty?: string;
  readonly noRepeatNgramSize?: string;
  readonly precision?: string;
  readonly constrain?: boolean;
  readonly json?: boolean;
  readonly draw?: string;
  readonly autoOrient: boolean;
  readonly background?: string;
  readonly cache?: string;
  readonly allowUnverified?: boolean;
}

// Enough that a batch forms while images are read; more would only hold more images in memory.
const imagesAtOnce = 4;

export function configureRun(command: Command): void {
  const collect = (value: string, before: string[]) => [...before, value];
  addCheckpointFlags(command)
    .argument("<image...>", `image files: ${Object.values(formatNames).join(", ")}`)
    .requiredOption(
      "-t, --task <task[=input]>",
      "a task's name, or its token with the input behind it; input is text, x1,y1,x2,y2 in pixels or four location tokens; may be given several times",
      collect,
      [],
    )
    .option("--model <folder>", "checkpoint or built folder, or a hub's owner/name (FLORENCE_MODEL)")
    .option("--server <url>", "ask a running server instead of loading a model")
    .option("--beams <n>", "beams of the search, 1 to 5; 1 is greedy")
    .option("--max-new-tokens <n>", "longest answer in tokens")
    .option("--length-penalty <x>", "above 1 prefers longer answers, with several beams")
    .option("--no-repeat-ngram-size <n>", "no run of so many tokens twice; 0 allows any")
    .option("--constrain", "allow only well-formed answers")
    .addOption(new Option("--precision <p>", "for a raw checkpoint (FLORENCE_PRECISION)").choices(precisions))
    .option("--json", "print one JSON object per image and nothing else")
    .option("--draw <out.png>", "draw the regions on the image; of several images OUT may be a folder")
    .option("--no-auto-orient", "leave the EXIF orientation unapplied, as the reference does")
    .option("--background <#rrggbb>", "what transparent pixels are seen on; else their stored colours are read")
    .option("--cache <folder>", "where raw checkpoints are built into (FLORENCE_CACHE)")
    .option("--allow-unverified", "use a variant that failed its verification")
    .action(runCommand);
}

async function runCommand(images: readonly string[], flags: RunFlags): Promise<void> {
  if (flags.task.length === 0) throw new UsageError("Name at least one --task.");
  const reading = { autoOrient: flags.autoOrient, background: colourOption(flags.background) };
  const options = {
    auto_orient: reading.autoOrient,
    ...(reading.background && { background: reading.background }),
    ...numberOption("num_beams", "--beams", flags.beams),
    ...numberOption("max_new_tokens", "--max-new-tokens", flags.maxNewTokens),
    ...numberOption("length_penalty", "--length-penalty", flags.lengthPenalty),
    ...numberOption("no_repeat_ngram_size", "--no-repeat-ngram-size", flags.noRepeatNgramSize),
    ...(flags.constrain && { constrain: true }),
  };
  await using server = await connect(flags);
  const tasks = await readTasks(flags.task, server.url);
  const progress = images.length > 1 && process.stderr.isTTY ? new Progress("Images") : undefined;
  let done = 0;
  const answerOf = async (image: string) => {
    const answer = await annotate(
      server.url,
      readImage(image),
      tasks.map((t) => t.request),
      options,
    );
    progress?.update(++done, images.length);
    return answer;
  };
  const waiting: Promise<Answer>[] = [];
  for (const [i, image] of images.entries()) {
    while (waiting.length < Math.min(images.length, i + imagesAtOnce)) {
      const next = answerOf(images[waiting.length] as string);
      next.catch(() => {}); // It is awaited, and thrown, at its turn.
      waiting.push(next);
    }
    try {
      await report(image, (await waiting[i]) as Answer, tasks, { ...flags, reading }, i);
    } catch (error) {
      // The other images are not to suffer for this one.
      process.stderr.write(`florence: ${image}: ${describe(error)}\n`);
      process.exitCode = 1;
    }
  }
}

async function report(
  image: string,
  answer: Answer,
  tasks: readonly TaskArgument[],
  flags: RunFlags & { readonly reading: ImageReading },
  index: number,
): Promise<void> {
  process.stdout.write(
    flags.json ? `${JSON.stringify(imageJson(image, answer, tasks))}\n` : imageText(image, answer, tasks),
  );
  if (!flags.json) process.stderr.write(warningLines(image, answer));
  if (flags.draw) {
    const file = drawFile(flags.draw, image, index);
    await drawAnswer(readImage(image), regionAnswers(answer, tasks), file, flags.reading);
    process.stderr.write(`drawn: ${file}\n`);
  }
  for (const result of answer.results) {
    if (!("error" in result)) continue;
    process.stderr.write(`${image}: ${result.task}: ${result.error.detail}\n`);
    process.exitCode = 1;
  }
}

/** OUT.png itself for a name that ends so and one image; else a file of the folder OUT, numbered so that equal names stay apart. */
function drawFile(out: string, image: string, index: number): string {
  if (/\.png$/i.test(out)) return index === 0 ? out : out.replace(/\.png$/i, `-${index + 1}.png`);
  return join(out, `${index + 1}-${parse(image).name}.png`);
}

/** A running server, or one started in this process for the length of this command: images take the same way. */
async function connect(flags: RunFlags): Promise<AsyncDisposable & { readonly url: string }> {
  if (flags.server !== undefined) {
    if (!URL.canParse(flags.server)) throw new UsageError(`--server must be a URL, not ${flags.server}.`);
    return { url: flags.server, [Symbol.asyncDispose]: async () => {} };
  }
  const settings = readSettings({
    PORT: "0",
    FLORENCE_HOST: "127.0.0.1",
    FLORENCE_LOG_LEVEL: "fatal",
    // A person waits here, and a large checkpoint on two cores may take minutes.
    FLORENCE_DEADLINE_MS: "3600000",
    ...(flags.model && { FLORENCE_MODEL: flags.model }),
    ...(flags.cache && { FLORENCE_CACHE: flags.cache }),
    ...(flags.precision && { FLORENCE_PRECISION: flags.precision }),
    ...checkpointVariables(flags),
    ...(flags.allowUnverified && { FLORENCE_ALLOW_UNVERIFIED: "true" }),
  });
  const model = await loadModel(settings.model);
  const stack = await startStack("all", settings, model);
  return { url: stack.address, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}

function numberOption(name: string, flag: string, value: string | undefined): Record<string, number> {
  if (value === undefined) return {};
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number)) throw new UsageError(`${flag} must be a number, not ${value}.`);
  return { [name]: number };
}

function colourOption(value: string | undefined): Colour | undefined {
  const colour = value === undefined ? undefined : parseColour(value);
  if (value !== undefined && colour === undefined)
    throw new UsageError(`--background must be a colour like #ffffff, not ${value}.`);
  return colour;
}

function readImage(path: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new ModelError("image_undecodable", `${path} cannot be read: ${(cause as Error).message.split(":")[0]}.`, {
      cause,
    });
  }
}

// However the server was started and whoever tells it to stop, what is under way is answered.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
const image = readFileSync(new URL("../models/demo/shapes.png", import.meta.url));
const calls = 8;
const linux = process.platform === "linux";

// What npm sets for its scripts would make the script under test believe that npm started it.
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD)/.test(name)));
const env = { ...clean, PORT: "0", FLORENCE_HOST: "127.0.0.1" };

interface Way {
  readonly name: string;
  readonly command: readonly [program: string, ...args: string[]];
  /** Tells it to stop; `child` leads a process group of its own. */
  readonly stop: (child: ChildProcess) => void;
  /** Where it is missing, the way is not tried. */
  readonly needs?: () => boolean;
}

const toLeader = (child: ChildProcess) => void child.kill("SIGTERM");
const toGroup = (child: ChildProcess) => void process.kill(-(child.pid as number), "SIGTERM");
const serve = ["apps/cli/src/main.ts", "serve"];

const ways: readonly Way[] = [
  { name: "npm start, SIGTERM to npm", command: ["npm", "start"], stop: toLeader },
  { name: "npm start, SIGTERM to its process group", command: ["npm", "start"], stop: toGroup },
  {
    name: "npm start in a shell, SIGINT to its group as from a terminal",
    command: ["sh", "-c", "npm start; :"],
    stop: (child) => void process.kill(-(child.pid as number), "SIGINT"),
  },
  {
    name: "npm start, ended by timeout",
    command: ["timeout", "--signal=TERM", "3600", "npm", "start"],
    stop: toLeader,
    needs: () => linux,
  },
  {
    name: "npm run florence -- serve, SIGTERM to its group",
    command: ["npm", "run", "florence", "--", "serve"],
    stop: toGroup,
  },
  {
    name: "florence dev, SIGTERM to its group",
    command: [process.execPath, "apps/cli/src/main.ts", "dev"],
    stop: toGroup,
  },
  { name: "the program itself, SIGTERM to its group", command: [process.execPath, ...serve], stop: toGroup },
  {
    name: "the program itself, its terminal gone",
    command: [process.execPath, ...serve],
    stop: (child) => void child.kill("SIGHUP"),
  },
  {
    name: "the program as process 1 of a container",
    command: ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", process.execPath, ...serve],
    // unshare stands outside and passes nothing on: its child is process 1.
    stop: (child) =>
      void process.kill(Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")), "SIGTERM"),
    needs: () => linux && spawnSync("unshare", ["--user", "--map-root-user", "--pid", "--fork", "true"]).status === 0,
  },
];

test.for(ways.filter(({ needs }) => needs?.() ?? true))(
  "$name: every call under way is answered",
  async ({ command, stop }) => {
    const [program, ...args] = command;
    const child = spawn(program, args, { cwd: root, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const ended = once(child, "close");
    onTestFinished(async () => {
      try {
        process.kill(-(child.pid as number), "SIGKILL");
      } catch {} // It has ended.
      await ended;
    });
    let said = "";
    const url = await new Promise<string>((resolve, reject) => {
      const read = (text: string) => {
        said += text;
        const found = /(?:answers on|gateway-0) +(http:\S+)/.exec(said)?.[1];
        if (found) resolve(found);
      };
      child.stdout.setEncoding("utf8").on("data", read);
      child.stderr.setEncoding("utf8").on("data", read);
      ended.then(() => reject(new Error(`It ended before it listened: ${said}`)), reject);
    });
    const tasks = ["more_detailed_caption", "object_detection", "dense_region_caption", "ocr_with_region"];
    const query = `${tasks.map((task) => `task=${task}`).join("&")}&num_beams=1&stream=true`;
    const begun = Promise.withResolvers<void>();
    let streams = 0;
    const answers = Array.from({ length: calls }, async () => {
      const response = await fetch(`${url}/v1/annotate?${query}`, {
        method: "POST",
        headers: { "content-type": "image/png" },
        body: image,
      });
      let text = "";
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        if (text === "" && ++streams === calls) begun.resolve();
        text += Buffer.from(chunk).toString();
      }
      return text;
    });
    await Promise.race([begun.promise, Promise.all(answers)]);
    stop(child);
    for (const answer of await Promise.allSettled(answers)) {
      expect(answer, said).toMatchObject({ status: "fulfilled", value: expect.stringContaining("event: done") });
    }
    await ended;
    expect(said).not.toContain("ending now");
  },
);

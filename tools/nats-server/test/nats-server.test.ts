import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findOrGetNatsServer, startNatsServer } from "../src/index.ts";

const found = await findOrGetNatsServer();
if (typeof found !== "string") process.stderr.write(`Not run: tests of a running nats-server. ${found.missing}\n`);

describe.runIf(typeof found === "string")("a running server", () => {
  const binary = String(found);

  test("starts on a free port, comes back on the same one, and ends", async () => {
    await using server = await startNatsServer({ binary });
    expect(server.port).toBeGreaterThan(0);
    expect(await greeting(server.port)).toContain(`"max_payload":${8 * 1024 * 1024}`);
    const first = server.pid;
    await server.restart({ keepData: true });
    expect(server.pid).not.toBe(first);
    expect(await greeting(server.port)).toContain('"jetstream":true');
    await server.stop();
    expect(server.pid).toBeUndefined();
    await expect(greeting(server.port)).rejects.toThrow();
    await server.restart({ keepData: false });
    expect(await greeting(server.port)).toContain('"jetstream":true');
    await server.kill();
    await expect(greeting(server.port)).rejects.toThrow();
  });

  test("a frozen server can be ended, and leaves no folder", async () => {
    const server = await startNatsServer({ binary, auth: { token: 'a "quoted" one' } });
    expect(await greeting(server.port)).toContain('"auth_required":true');
    const pid = server.pid;
    expect(await workFolders(pid)).toHaveLength(1);
    server.freeze();
    await server[Symbol.asyncDispose]();
    expect(server.pid).toBeUndefined();
    expect(await workFolders(pid)).toEqual([]);
  });

  test("a start that fails says why", async () => {
    await using server = await startNatsServer({ binary });
    await expect(startNatsServer({ binary, port: server.port })).rejects.toThrow(
      /did not start: .*address already in use/s,
    );
  });

  test("processes that look for a server at the same time all find it", async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, "lock"), "999999999"); // Left by a process that is gone.
    await mkdir(join(folder.path, "bin"));
    const env = { binary: undefined, folders: [join(folder.path, "bin")] };
    // Told that there was none a moment ago, nobody downloads; each waits for the lock and hears the same.
    await writeFile(join(folder.path, "missing.json"), JSON.stringify({ reason: "offline", atMs: Date.now() }));
    const answers = await Promise.all([1, 2, 3].map(() => findOrGetNatsServer({ folder: folder.path, env })));
    for (const answer of answers) expect(answer).toMatchObject({ missing: expect.stringContaining("offline") });
    await expect(stat(join(folder.path, "lock"))).rejects.toThrow();
  });
});

test("a NATS_SERVER_BIN that does not run is an error, not a reason to use another", async () => {
  const answer = await findOrGetNatsServer({ env: { binary: "/nowhere/nats-server", folders: [] } });
  expect(answer).toMatchObject({ missing: expect.stringContaining("/nowhere/nats-server") });
});

function greeting(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", reject).once("data", (data) => {
      socket.destroy();
      resolve(String(data));
    });
  });
}

// The folders of the server that has, or had, this pid: its file of ports lies there.
async function workFolders(pid: number | undefined): Promise<string[]> {
  const folders = (await readdir(tmpdir())).filter((name) => name.startsWith("florence-nats-"));
  return folders.filter((name) => existsSync(join(tmpdir(), name, `nats-server_${pid}.ports`)));
}

async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "florence-find-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

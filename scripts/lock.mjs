import { readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "./complaint.mjs";

const pollMs = 200; // Short against an install, long against the cost of a look.
const heartbeatMs = 2_000; // A living holder touches its file this often.
const silenceMsMax = 60_000; // A holder silent for 30 heartbeats is gone, whatever its process id says.
const orphanMsMax = 600_000; // An installer that lost its parent may go on; none takes longer than this.
const takeoverMsMax = 10_000; // Removing a dead holder's file takes a millisecond.
const waitMsMax = 1_200_000; // Twice the longest install: past that something is wrong.

/**
 * Runs `work(noteInstaller)` while no other process does so for the same lock file. A holder that has
 * died is replaced. `noteInstaller(pid)` names the process that works for the holder: while that one
 * lives, the lock is held even if the holder was killed.
 */
export async function withLock(path, work) {
  const mine = { pid: process.pid, host: hostname(), installer: undefined };
  const write = (flag) => writeFileSync(path, JSON.stringify(mine), { flag });
  await acquire(path, () => write("wx"));
  const release = () => {
    if (readHolder(path).pid === process.pid) rmSync(path, { force: true });
  };
  process.once("exit", release);
  const heartbeat = setInterval(() => touch(path), heartbeatMs);
  try {
    return await work((pid) => {
      mine.installer = pid;
      write("w");
    });
  } finally {
    clearInterval(heartbeat);
    process.off("exit", release);
    release();
  }
}

async function acquire(path, create) {
  const deadline = Date.now() + waitMsMax;
  for (let told = false; ; ) {
    try {
      create();
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (isDead(path) && takeOver(path)) continue;
    if (Date.now() > deadline) throw new Complaint(`another start has held ${path} for too long; remove the file.`);
    if (!told) console.error("florence: another start is installing; waiting for it.");
    told = true;
    await sleep(pollMs);
  }
}

/** Whether the holder of the lock file has died. A file that is gone was released: not dead. */
function isDead(path) {
  const silence = age(path);
  if (silence === undefined) return false;
  const holder = readHolder(path);
  const here = holder.host === hostname();
  if (here && holder.installer && isAlive(holder.installer)) return silence > orphanMsMax;
  if (here && !isAlive(holder.pid)) return true;
  return silence > silenceMsMax;
}

function readHolder(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return {}; // Half written, or released a moment ago: only its age can tell.
  }
}

/** Removes a dead holder's file, and says whether it did. A second file makes sure that a fresh lock is never taken for the dead one. */
function takeOver(path) {
  const guard = `${path}.takeover`;
  try {
    writeFileSync(guard, "", { flag: "wx" });
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    if ((age(guard) ?? 0) > takeoverMsMax) rmSync(guard, { force: true });
    return false;
  }
  const dead = isDead(path);
  if (dead) rmSync(path, { force: true });
  rmSync(guard, { force: true });
  return dead;
}

/** Milliseconds since the file was written or touched; undefined when there is none. */
function age(path) {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && Date.now() - stats.mtimeMs;
}

function touch(path) {
  try {
    utimesSync(path, new Date(), new Date());
  } catch {
    // Someone removed the file by hand: the work goes on, and there is nothing better to do.
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM"; // It lives, and belongs to another user.
  }
}

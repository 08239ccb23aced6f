import { faultTable, type Listener, type Logger } from "@florence/service";
import type { gatewayEvents } from "./events.ts";
import { probePaths, readyPath } from "./http/probes.ts";

/** Writes a line for what an operator would want to read of a gateway's events. */
export function logEvents(log: Logger): Listener<typeof gatewayEvents> {
  // What the last probe said.
  let ready = true;
  // What the lines of requests that are being answered will say besides; the gateway bounds how many there are.
  const open = new Map<string, object>();
  return {
    requestReceived: ({ requestId }) => void open.set(requestId, {}),
    answerComplete({ requestId, stagesMs, ...cache }) {
      // With the unit in the names: a field called prompt would be taken for one, and redacted.
      const stages = Object.fromEntries(Object.entries(stagesMs).map(([stage, ms]) => [`${stage}_ms`, ms]));
      const about = { ...cache, stages };
      if (open.has(requestId)) open.set(requestId, about);
      else log.info({ requestId, ...about }, "stream complete"); // Its request's line was written with its head.
    },
    requestAnswered(line) {
      const about = open.get(line.requestId);
      open.delete(line.requestId);
      if (!probePaths.has(line.path)) log.info({ ...line, ...about }, "request");
      else log.debug(line, "request");
      if (line.path === readyPath && line.status === 200 && !ready) {
        ready = true;
        log.info("ready again");
      }
    },
    // Faults below 500 are the caller's and show in the request's line; the others need an operator.
    requestRefused: ({ requestId, fault }) => log.debug({ requestId, err: fault }, "request refused"),
    requestFailed({ requestId, path, fault }) {
      if (!probePaths.has(path)) log.error({ requestId, err: fault }, "request failed");
      else if (ready) {
        // Said once while it lasts, as is its end: a probe comes every few seconds.
        ready = false;
        log.warn({ reason: fault.message }, "not ready");
      }
    },
    taskFailed({ requestId, task, fault }) {
      if (faultTable[fault.code].http >= 500) log.error({ requestId, task, err: fault }, "task failed");
    },
    streamFailed: ({ requestId, fault }) => log.error({ requestId, err: fault }, "stream failed"),
    encodeRetried({ requestId, fault, pauseMs }) {
      if (pauseMs === 0) log.debug({ requestId, err: fault }, "encoder unavailable, asking another");
      else log.warn({ requestId, err: fault }, "no encoder is there, asking again");
    },
    embeddingEvicted: ({ requestId }) => log.info({ requestId }, "embedding evicted, encoding the image again"),
    generateRetried({ requestId, fault, tasks }) {
      log.warn({ requestId, err: fault, tasks }, "decoder unavailable, asking another");
    },
    peerGone: ({ address }) => log.info({ address }, "a peer is gone"),
    peerLeftOut: ({ service: _, ...about }) => log.warn(about, "peer has another checkpoint, left out"),
    nameUnresolved: ({ host, error }) =>
      log.warn({ host, err: error }, "name not resolved, its last addresses are kept"),
    addressesExceeded: ({ addresses, used }) => log.warn({ addresses, used }, "too many addresses"),
  };
}

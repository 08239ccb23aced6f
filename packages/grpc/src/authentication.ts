import { Health } from "@florence/proto/health";
import { Fault, faultTable } from "@florence/service";
import { type Metadata, ServerInterceptingCall, type ServerInterceptor } from "@grpc/grpc-js";
import { type CallProofs, proofMetadata } from "./call-proof.ts";
import type { CallEvents } from "./events.ts";
import { toStatus } from "./status.ts";

// Orchestrators ask for health, and it says nothing else.
const open = `/${Health.typeName}/`;

/** Refuses calls that do not prove themselves, before any of their messages is read, and proves the server to those that do. */
export function authenticated(proofs: CallProofs, events: CallEvents): ServerInterceptor {
  return ({ path }, call) => {
    const beganMs = performance.now();
    let answer: string | undefined;
    const onReceiveMetadata = (metadata: Metadata, next: (metadata: Metadata) => void) => {
      const [proof] = metadata.get(proofMetadata.call);
      metadata.remove(proofMetadata.call);
      const flaw = proofs.flawOf(path, proof);
      if (flaw === undefined) {
        answer = proofs.answer(String(proof));
        return next(metadata);
      }
      if (path.startsWith(open)) return next(metadata);
      const fault = new Fault("unauthorized", `${faultTable.unauthorized.title}.`, {
        internal: `The call's proof is ${flaw}.`,
      });
      const method = path.slice(1).replace("/", ".");
      events.callRefused({ method, peer: call.getPeer(), ms: performance.now() - beganMs, fault });
      call.sendStatus(toStatus(fault));
    };
    return new ServerInterceptingCall(call, {
      start: (next) => next({ onReceiveMetadata }),
      sendMetadata: (metadata, next) => {
        if (answer !== undefined) metadata.set(proofMetadata.server, answer);
        next(metadata);
      },
      // A call that fails at once sends nothing before its status.
      sendStatus: (status, next) => {
        if (answer !== undefined && status.metadata) status.metadata.set(proofMetadata.server, answer);
        next(status);
      },
    });
  };
}

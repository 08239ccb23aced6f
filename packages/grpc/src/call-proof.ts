import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes, timingSafeEqual } from "node:crypto";
import type { Secret } from "@florence/service";

/** Metadata keys of a call's proof and of the answer to it. */
export const proofMetadata = { call: "florence-call-proof", server: "florence-server-proof" } as const;

/**
 * How far the clocks of two machines may differ, and so for how long a proof that was overheard can be used again, for the same method.
 * Machines of a cluster keep time within a second; a minute also covers a call that waits for its connection.
 */
export const proofMsMax = 60_000;

const version = "1";
const nonceBytes = 16;

/** Why a call's proof is none; "missing" where there was none at all. */
export type ProofFlaw = "missing" | "wrong" | "expired";

/**
 * Proves calls by a shared secret that never travels: a caller sends an HMAC-SHA-256 over the method, the time and a nonce, and the server
 * answers with one over that, so that each knows the other has the secret. It does not cover messages: who can read or change what goes
 * over the wire is TLS's to keep out.
 */
export class CallProofs {
  readonly #key: KeyObject;
  readonly #now: () => number;

  /** `now`: Unix milliseconds, the same on all machines but for proofMsMax. */
  constructor(secret: Secret, now: () => number = Date.now) {
    this.#key = createSecretKey(Buffer.from(hkdfSync("sha256", secret.reveal(), "", "florence calls 1", 32)));
    this.#now = now;
  }

  /** The proof for one call of a method, by its path such as /florence.v1.Encoder/Encode. */
  make(path: string): string {
    const claim = [version, this.#now(), randomBytes(nonceBytes).toString("base64url")].join(".");
    return `${claim}.${this.#mac(`call\n${path}\n${claim}`)}`;
  }

  /** What is wrong with a call's proof; undefined where nothing is. */
  flawOf(path: string, proof: unknown): ProofFlaw | undefined {
    if (typeof proof !== "string" || proof === "") return "missing";
    const end = proof.lastIndexOf(".");
    const claim = proof.slice(0, Math.max(0, end));
    if (!equal(proof.slice(end + 1), this.#mac(`call\n${path}\n${claim}`))) return "wrong";
    const [form, madeAtMs] = claim.split(".");
    // Only what our own make has written gets here.
    return form === version && Math.abs(this.#now() - Number(madeAtMs)) <= proofMsMax ? undefined : "expired";
  }

  /** What a server answers to a call's proof. */
  answer(proof: string): string {
    return this.#mac(`server\n${proof}`);
  }

  /** Whether a server's answer shows that it knows the secret. */
  answers(proof: string, answer: unknown): boolean {
    return typeof answer === "string" && equal(answer, this.answer(proof));
  }

  #mac(text: string): string {
    return createHmac("sha256", this.#key).update(text).digest("base64url");
  }
}

/** In a time that says nothing about where they differ. */
function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

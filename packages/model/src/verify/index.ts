export { readGoldens, type Sample } from "./goldens.ts";
export { gate, type VerifyOptions, verifyVariant } from "./verify.ts";

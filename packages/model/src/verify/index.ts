export { readGoldens, type Sample } from "./goldens.ts";
export { gate, verifyVariant } from "./verify.ts";

export { type TelemetryConfig, telemetryConfig } from "./config.ts";
export { logFields } from "./current.ts";
export { startTelemetry, type TelemetryOptions } from "./setup.ts";
export type { Telemetry } from "./telemetry.ts";

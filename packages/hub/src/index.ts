export { type HubSettings, readHubSettings } from "./config.ts";
export { HubError, type HubErrorCode } from "./error.ts";
export { type ModelName, parseModelName, requireModelName, shortNames } from "./name.ts";
export { findModel, type HubModel, type PullOptions, type PullPlan, pullModel } from "./pull.ts";

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../images/roles.ts";
import type { Check } from "./documents.ts";
import * as environment from "./environment.ts";
import * as nats from "./nats.ts";
import * as release from "./release.ts";
import * as running from "./running.ts";
import * as scale from "./scale.ts";
import { type Schemas, schemaCheck } from "./schema.ts";
import * as wiring from "./wiring.ts";

const schemas = JSON.parse(readFileSync(join(root, "test/fixtures/kubernetes/schemas.json"), "utf8")) as Schemas;

/** What holds for every overlay, by what it says. */
export const checks: Readonly<Record<string, Check>> = {
  "every field is one that its kind has": schemaCheck(schemas),
  "selectors match pods": wiring.selectorsMatch,
  "ports match": wiring.portsMatch,
  "services listen and are looked for at their ports": wiring.addressesMatch,
  "probes fit each role": wiring.probesFit,
  "volumes exist": wiring.volumesExist,
  "what is named exists": wiring.namesExist,
  "variables are settings of the code": environment.settingsExist,
  "config maps, secrets and their keys exist": environment.referencesExist,
  "pods are restricted": running.podsAreRestricted,
  "resources are stated and hold what settings allow": running.resourcesAreStated,
  "pods stop in order": running.stopsAreOrderly,
  "pods are spread and ranked": running.podsAreSpread,
  "one autoscaler a workload": scale.oneAutoscalerEach,
  "autoscalers ask for their own namespace": scale.queriesStayHome,
  "budgets let nodes drain": scale.budgetsLetNodesDrain,
  "rollouts can move": scale.rolloutsMove,
  "images have a tag or a digest": release.imagesAreNamed,
  "NATS holds what services store": nats.natsHoldsTheBucket,
};

/** What holds beside that for what is run in production. */
export const productionChecks: Readonly<Record<string, Check>> = {
  "images are named by their digests": release.imagesArePinned,
};

/** What a checkout cannot know, and whoever deploys has to fill in. */
export const beforeApply: Check = release.placeholdersLeft;

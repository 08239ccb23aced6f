import { type Check, type Doc, nameOf, ofKind, type Selector, selected, workloadsOf } from "./documents.ts";

interface Target {
  readonly kind: string;
  readonly name: string;
}
interface Autoscaler extends Doc {
  readonly target: Target;
  readonly least: number;
}

function autoscalersOf(docs: readonly Doc[]): Autoscaler[] {
  type Keda = { scaleTargetRef: Partial<Target> & { name: string }; minReplicaCount?: number };
  type Hpa = { scaleTargetRef: Target; minReplicas?: number };
  return [
    ...ofKind<Keda>(docs, "ScaledObject").map((doc) => ({
      ...doc,
      target: { kind: "Deployment", ...doc.spec.scaleTargetRef },
      least: doc.spec.minReplicaCount ?? 0,
    })),
    ...ofKind<Hpa>(docs, "HorizontalPodAutoscaler").map((doc) => ({
      ...doc,
      target: doc.spec.scaleTargetRef,
      least: doc.spec.minReplicas ?? 1,
    })),
  ];
}

/** A workload has one autoscaler at most, which keeps one pod at least; nobody else says how many there are. */
export const oneAutoscalerEach: Check = (docs) => {
  const autoscalers = autoscalersOf(docs);
  const aims = ({ target }: Autoscaler, doc: Doc) => target.kind === doc.kind && target.name === doc.metadata.name;
  const workloads = workloadsOf(docs);
  const crowded = workloads.flatMap((workload) => {
    const own = autoscalers.filter((autoscaler) => aims(autoscaler, workload));
    return [
      ...(own.length > 1 ? [`${nameOf(workload)}: scaled by ${own.map(nameOf).join(" and ")}`] : []),
      ...(own.length > 0 && workload.spec.replicas !== undefined
        ? [`${nameOf(workload)}: says replicas, which its autoscaler decides`]
        : []),
    ];
  });
  const lost = autoscalers
    .filter((autoscaler) => !workloads.some((workload) => aims(autoscaler, workload)))
    .map((autoscaler) => `${nameOf(autoscaler)}: scales ${autoscaler.target.name}, which is not there`);
  const none = autoscalers
    .filter(({ least }) => least < 1)
    .map((autoscaler) => `${nameOf(autoscaler)}: goes to zero, from where nothing wakes it`);
  return [...crowded, ...lost, ...none];
};

/** The metrics that autoscalers ask for. */
export function metricsAsked(docs: readonly Doc[]): string[] {
  return [...JSON.stringify(ofKind(docs, "ScaledObject")).matchAll(/\bflorence_\w+/g)].map((match) => match[0]);
}

/** Autoscalers ask for their own namespace's metrics. */
export const queriesStayHome: Check = (docs) =>
  ofKind<{ triggers: readonly { metadata: { query?: string } }[] }>(docs, "ScaledObject").flatMap((doc) =>
    doc.spec.triggers
      .flatMap(({ metadata }) => metadata.query ?? [])
      .filter((query) => !query.includes(`namespace="${doc.metadata.namespace}"`))
      .map(() => `${nameOf(doc)}: asks for the metrics of another namespace`),
  );

interface Budget {
  readonly selector: Selector;
  readonly maxUnavailable?: number | string;
  readonly minAvailable?: number | string;
}

/** Each workload has one disruption budget, and none that forbids a node to be drained. */
export const budgetsLetNodesDrain: Check = (docs) => {
  const budgets = ofKind<Budget>(docs, "PodDisruptionBudget");
  const autoscalers = autoscalersOf(docs);
  return workloadsOf(docs).flatMap((workload) => {
    const own = budgets.filter(({ spec }) => selected([workload], spec.selector).length > 0);
    if (own.length !== 1) return [`${nameOf(workload)}: has ${own.length} disruption budgets, not one`];
    const scaled = autoscalers.find(({ target }) => target.name === workload.metadata.name);
    const least = scaled?.least ?? workload.spec.replicas ?? 1;
    return own
      .filter(({ spec }) => allowedDisruptions(spec, least) < 1)
      .map((budget) => `${nameOf(budget)}: blocks every drain while there are ${least}`);
  });
};

/** How many of `replicas` healthy pods may be taken away. */
function allowedDisruptions({ maxUnavailable, minAvailable }: Budget, replicas: number): number {
  const pods = (value: number | string) =>
    typeof value === "number" ? value : Math.ceil((Number.parseFloat(value) / 100) * replicas);
  return maxUnavailable !== undefined ? pods(maxUnavailable) : replicas - pods(minAvailable ?? 1);
}

/** A rollout can go on: one more pod, or one fewer. */
export const rolloutsMove: Check = (docs) =>
  workloadsOf(docs)
    .filter(({ spec }) => {
      const { maxSurge = 1, maxUnavailable = 1 } = spec.strategy?.rollingUpdate ?? {};
      return maxSurge === 0 && maxUnavailable === 0;
    })
    .map((workload) => `${nameOf(workload)}: a rollout may neither add a pod nor take one away`);

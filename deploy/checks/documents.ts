import { parseAllDocuments } from "yaml";

// Only what the checks look at; the schemas hold the rest.

export interface Labels {
  readonly [name: string]: string;
}

export interface Selector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

export interface EnvVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
    readonly configMapKeyRef?: { readonly name: string; readonly key: string };
    readonly resourceFieldRef?: { readonly resource: string; readonly divisor?: string };
    readonly fieldRef?: { readonly fieldPath: string };
  };
}

export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string | number };
  readonly grpc?: { readonly port: number; readonly service?: string };
  readonly periodSeconds?: number;
  readonly failureThreshold?: number;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly EnvVariable[];
  readonly envFrom?: readonly {
    readonly configMapRef?: { readonly name: string };
    readonly secretRef?: { readonly name: string };
  }[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds: number }; readonly exec?: object } };
  readonly resources?: { readonly requests?: Labels; readonly limits?: Labels };
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly privileged?: boolean;
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface PodSpec {
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly priorityClassName?: string;
  readonly terminationGracePeriodSeconds?: number;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type: string };
  };
  readonly topologySpreadConstraints?: readonly { readonly topologyKey: string; readonly labelSelector?: Selector }[];
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly {
    readonly name: string;
    readonly configMap?: { readonly name: string };
    readonly secret?: { readonly secretName: string };
    readonly image?: { readonly reference: string };
    readonly hostPath?: object;
  }[];
}

/** One object of Kubernetes. */
export interface Doc {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Labels };
  readonly data?: Labels;
  readonly stringData?: Labels;
  // What a spec holds depends on the kind; each check says what it expects.
  readonly spec?: unknown;
}

/** A Deployment or StatefulSet. */
export interface Workload extends Doc {
  readonly spec: {
    readonly replicas?: number;
    readonly serviceName?: string;
    readonly selector: Selector;
    readonly strategy?: { readonly rollingUpdate?: { readonly maxSurge?: number; readonly maxUnavailable?: number } };
    readonly template: { readonly metadata: { readonly labels: Labels }; readonly spec: PodSpec };
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
  };
}

/** A rule: the mistakes in a set of documents, each a line that names the object. */
export type Check = (docs: readonly Doc[]) => string[];

export function parseDocuments(text: string): Doc[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Doc | null)
    .filter((doc) => doc !== null);
}

export const nameOf = ({ kind, metadata }: Doc): string => `${kind}/${metadata.name}`;

export function workloadsOf(docs: readonly Doc[]): Workload[] {
  return docs.filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet") as Workload[];
}

/** The documents of a kind, with the spec that the caller knows it has. */
export function ofKind<Spec>(docs: readonly Doc[], kind: string): (Doc & { readonly spec: Spec })[] {
  return docs.filter((doc) => doc.kind === kind) as (Doc & { readonly spec: Spec })[];
}

export const podOf = (workload: Workload): PodSpec => workload.spec.template.spec;
export const containersOf = (pod: PodSpec): Container[] => [...(pod.initContainers ?? []), ...pod.containers];

export function matches({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([name, value]) => labels[name] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === "In") return value !== undefined && values.includes(value);
      if (operator === "NotIn") return value === undefined || !values.includes(value);
      return operator === "Exists" ? value !== undefined : value === undefined;
    })
  );
}

/** The workloads whose pods a selector takes. */
export function selected(docs: readonly Doc[], selector: Selector): Workload[] {
  return workloadsOf(docs).filter(({ spec }) => matches(selector, spec.template.metadata.labels));
}

/** The number of a port that is named or given, or undefined where no container has it. */
export function portNumber(pod: PodSpec, port: string | number): number | undefined {
  const ports = pod.containers.flatMap((container) => container.ports ?? []);
  return ports.find(({ name, containerPort }) => name === port || containerPort === port)?.containerPort;
}

const units: Readonly<Record<string, number>> = {
  ...{ "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, m: 1e-3 },
  ...{ Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3, Ti: 1024 ** 4 },
};

/** A quantity such as 512Mi or 500m as a number. NaN where it is none. */
export function quantity(text: string | undefined): number {
  const [, digits, unit = ""] = /^([\d.]+)([a-zA-Z]*)$/.exec(text ?? "") ?? [];
  return Number(digits) * (units[unit] ?? Number.NaN);
}

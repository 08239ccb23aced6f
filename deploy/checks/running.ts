import { endGraceMs } from "@florence/node";
import { type Check, containersOf, nameOf, podOf, quantity, workloadsOf } from "./documents.ts";
import { environmentOf, roleOf } from "./environment.ts";

/** Every container keeps to Pod Security's "restricted", writes to no image, and has no token that it does not need. */
export const podsAreRestricted: Check = (docs) =>
  workloadsOf(docs).flatMap((workload) => {
    const pod = podOf(workload);
    const complaints: string[] = [];
    if (!pod.securityContext?.runAsNonRoot || !(Number(pod.securityContext.runAsUser) > 0))
      complaints.push("may run as root");
    if (pod.securityContext?.seccompProfile?.type !== "RuntimeDefault") complaints.push("has no seccomp profile");
    if (pod.automountServiceAccountToken !== false) complaints.push("gets a token of the cluster");
    if (pod.enableServiceLinks !== false) complaints.push("gets variables of Services, which look like settings");
    if (pod.hostNetwork || pod.hostPID || pod.volumes?.some(({ hostPath }) => hostPath))
      complaints.push("uses what is its node's");
    for (const { name, securityContext: context = {} } of containersOf(pod)) {
      if (context.privileged || context.runAsNonRoot === false || context.runAsUser === 0)
        complaints.push(`${name} may run as root`);
      if (context.allowPrivilegeEscalation !== false) complaints.push(`${name} may gain privileges`);
      if (!context.capabilities?.drop?.includes("ALL") || context.capabilities.add)
        complaints.push(`${name} keeps capabilities`);
      if (!context.readOnlyRootFilesystem) complaints.push(`${name} may write to its image`);
    }
    return complaints.map((complaint) => `${nameOf(workload)}: ${complaint}`);
  });

// The runtime with the weights of the smallest checkpoint.
const processBytes = 256 * 1024 ** 2;

/** Every container says what it takes; our services' memory holds what their settings let them keep. */
export const resourcesAreStated: Check = (docs) =>
  workloadsOf(docs).flatMap((workload) =>
    containersOf(podOf(workload)).flatMap((container) => {
      const { requests = {}, limits = {} } = container.resources ?? {};
      const complaints: string[] = [];
      for (const name of ["cpu", "memory"]) {
        if (!(quantity(requests[name]) > 0)) complaints.push(`requests no ${name}`);
        if (!(quantity(limits[name]) > 0)) complaints.push(`has no limit of ${name}`);
      }
      const role = roleOf(container);
      if (role === "encoder" || role === "decoder") {
        const env = environmentOf(docs, container);
        const prefix = `FLORENCE_${role.toUpperCase()}`;
        if (env[`${prefix}_THREADS`] !== String(Math.ceil(quantity(limits.cpu))))
          complaints.push(`${prefix}_THREADS is not its limit of cpu`);
        const kept = [
          `${prefix}_STORE_BYTES_MAX`,
          role === "encoder" ? `${prefix}_BATCH_BYTES_MAX` : `${prefix}_KV_BYTES_MAX`,
        ];
        for (const name of kept)
          if (env[name] === undefined) complaints.push(`${name} is not set, so its memory is a guess`);
        const bytes = kept.reduce((sum, name) => sum + Number(env[name] ?? 0), processBytes);
        if (quantity(limits.memory) < bytes)
          complaints.push(`its settings let it keep ${bytes} bytes, more than its memory`);
      }
      return complaints.map((complaint) => `${nameOf(workload)}: ${container.name} ${complaint}`);
    }),
  );

const secondsToSpareMin = 1;

/** A pod may finish what it has taken on: grace = preStop + drain + the process's own end, and a drain is as long as a call may take. */
export const stopsAreOrderly: Check = (docs) => {
  const settings = new Map(
    workloadsOf(docs).flatMap((workload) =>
      podOf(workload).containers.flatMap((container) => {
        const role = roleOf(container);
        return role ? [[role, environmentOf(docs, container)] as const] : [];
      }),
    ),
  );
  // The defaults are the gateway's own.
  const deadlineMs = Number(settings.get("gateway")?.FLORENCE_DEADLINE_MS ?? 60_000);
  const resolveMs = Number(settings.get("gateway")?.FLORENCE_RESOLVE_MS ?? 5_000);
  return workloadsOf(docs).flatMap((workload) => {
    const pod = podOf(workload);
    const container = pod.containers.find((one) => roleOf(one) !== undefined);
    if (container === undefined) return [];
    const complaints: string[] = [];
    const waits = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
    if (waits * 1000 < resolveMs) complaints.push(`preStop is over before gateways have looked up its name again`);
    const drainMs = Number(environmentOf(docs, container).FLORENCE_DRAIN_MS ?? 0);
    if (drainMs < deadlineMs) complaints.push(`FLORENCE_DRAIN_MS=${drainMs} cuts calls that may take ${deadlineMs}`);
    const needed = waits + (drainMs + endGraceMs) / 1000 + secondsToSpareMin;
    if ((pod.terminationGracePeriodSeconds ?? 30) < needed)
      complaints.push(`terminationGracePeriodSeconds is less than the ${needed} that preStop and drain take`);
    return complaints.map((complaint) => `${nameOf(workload)}: ${complaint}`);
  });
};

/** Replicas of what serves are spread over zones and nodes, and ranked. */
export const podsAreSpread: Check = (docs) =>
  workloadsOf(docs)
    .filter((workload) => podOf(workload).containers.some((container) => roleOf(container) !== undefined))
    .flatMap((workload) => {
      const { topologySpreadConstraints = [], priorityClassName } = podOf(workload);
      const keys = topologySpreadConstraints.map(({ topologyKey }) => topologyKey);
      const missing = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].filter((key) => !keys.includes(key));
      return [
        ...missing.map((key) => `${nameOf(workload)}: is not spread over ${key}`),
        ...(priorityClassName === undefined ? [`${nameOf(workload)}: has no priority class`] : []),
      ];
    });

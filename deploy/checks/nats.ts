import { type Check, nameOf, podOf, workloadsOf } from "./documents.ts";
import { environmentOf, roleOf } from "./environment.ts";

/** What services ask of NATS is what it has: room for the bucket, as many servers as copies, and messages as large as an embedding. */
export const natsHoldsTheBucket: Check = (docs) => {
  const config = docs.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name.startsWith("nats-config"));
  const servers = workloadsOf(docs).find(({ kind, metadata }) => kind === "StatefulSet" && metadata.name === "nats");
  if (config === undefined || servers === undefined) return [];
  const text = Object.values(config.data ?? {}).join("\n");
  const store = Number(/max_file_store: (\d+)/.exec(text)?.[1]);
  const complaints = /max_payload: 8MB/.test(text)
    ? []
    : [`${nameOf(config)}: max_payload holds no embedding of large`];
  for (const workload of workloadsOf(docs)) {
    const container = podOf(workload).containers.find((one) => roleOf(one) === "encoder" || roleOf(one) === "decoder");
    if (container === undefined) continue;
    const env = environmentOf(docs, container);
    if (Number(env.FLORENCE_NATS_BYTES_MAX) > store)
      complaints.push(`${nameOf(workload)}: FLORENCE_NATS_BYTES_MAX is more than NATS may store`);
    if (Number(env.FLORENCE_NATS_REPLICAS) > (servers.spec.replicas ?? 1))
      complaints.push(`${nameOf(workload)}: FLORENCE_NATS_REPLICAS is more than there are servers`);
    if (env.FLORENCE_NATS?.startsWith("tls:") !== /^\s*tls \{/m.test(config.data?.["client-tls.conf"] ?? ""))
      complaints.push(`${nameOf(workload)}: speaks TLS to NATS where it speaks none, or the other way round`);
  }
  return complaints;
};

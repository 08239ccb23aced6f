import { type Config, integer, secret, text } from "@florence/service";

/** How the services of a cluster know each other: by a secret that all share, by certificates, or by both. The same in every process. */
export const clusterConfig = {
  secret: secret({
    variable: "FLORENCE_CLUSTER_SECRET",
    help: "16 bytes or more that all services share: proves calls, holders and what is stored in NATS.",
    bytesMin: 16, // 128 bits, where they are random.
  }),
  certFile: text({
    variable: "FLORENCE_TLS_CERT",
    help: "PEM file of this process's certificate; with key and CA, services speak TLS and both sides show one.",
    default: undefined,
  }),
  keyFile: text({ variable: "FLORENCE_TLS_KEY", help: "PEM file of its key.", default: undefined }),
  caFile: text({
    variable: "FLORENCE_TLS_CA",
    help: "PEM file of the authorities that issue the services' certificates, and no others.",
    default: undefined,
  }),
  serverName: text({
    variable: "FLORENCE_TLS_SERVER_NAME",
    help: "The name that the certificate of every service carries. Unset: the host that is connected to.",
    default: undefined,
  }),
  healthPort: integer({
    variable: "FLORENCE_HEALTH_PORT",
    help: "With TLS, a port of its own for health checks in plain text; 0 for none.",
    default: 0,
    min: 0,
    max: 65535,
  }),
};

/** The values of clusterConfig. */
export type ClusterConfig = Config<typeof clusterConfig>;

/** For a process that meets no other: nothing is proven. */
export const noCluster: ClusterConfig = Object.freeze({
  secret: undefined,
  certFile: undefined,
  keyFile: undefined,
  caFile: undefined,
  serverName: undefined,
  healthPort: 0,
});

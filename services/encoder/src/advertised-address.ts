import { networkInterfaces } from "node:os";
import type { RunningServer } from "@florence/grpc";

const everyAddress: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** host:port under which other services reach this server. */
export function advertisedAddress(
  server: RunningServer,
  config: { host: string; advertise: string | undefined },
): string {
  if (config.advertise !== undefined) return config.advertise;
  if (!everyAddress.has(config.host)) return server.address;
  return `${machineAddress() ?? "127.0.0.1"}:${server.port}`;
}

/** The machine's first IPv4 address that is not its loopback: in a container or a pod, the one that others know. */
function machineAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address;
}

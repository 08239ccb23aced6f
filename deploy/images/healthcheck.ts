// Asks a service whether it lives, and ends with 0 if it does:
//   node healthcheck.js http://127.0.0.1:8080/healthz
//   node healthcheck.js 127.0.0.1:50051 florence.v1.Encoder

const answerMsMax = 2_000; // An answer takes a few milliseconds, and what asks gives up soon after.

const [target = "", service = ""] = process.argv.slice(2);
process.exitCode = (await (target.startsWith("http") ? http(target) : grpc(target, service))) ? 0 : 1;

async function http(url: string): Promise<boolean> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(answerMsMax) }).catch(() => undefined);
  return answer?.ok ?? false;
}

async function grpc(address: string, service: string): Promise<boolean> {
  const { createClient } = await import("@florence/grpc");
  const { Health, HealthCheckResponse_ServingStatus: Status } = await import("@florence/proto/health");
  using client = createClient(Health, address);
  const answer = await client.check({ service }, { deadlineMs: answerMsMax }).catch(() => undefined);
  return answer?.status === Status.SERVING;
}

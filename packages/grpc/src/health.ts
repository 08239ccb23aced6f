import { Health as HealthService, HealthCheckResponse_ServingStatus as Status } from "@florence/proto/health";
import { Fault } from "@florence/service";
import { type Implementation, implement } from "./server.ts";

/** grpc.health.v1: what orchestrators ask before they send traffic. The name "" stands for the whole process. */
export class Health implements Disposable {
  #closed = false;
  readonly #serving = new Map<string, boolean>([["", false]]);
  readonly #changed = new EventTarget();

  /** Says whether a service (a full name such as florence.v1.Encoder, or "") takes calls. */
  set(service: string, serving: boolean): void {
    this.#serving.set(service, serving);
    this.#changed.dispatchEvent(new Event("change"));
  }

  /** Ends every watch, after its last news: a watch under way would otherwise hold up the server's drain. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#changed.dispatchEvent(new Event("change"));
  }

  /** For startServer. */
  readonly implementation: Implementation = implement(HealthService, {
    check: async ({ service }) => {
      const status = this.#status(service);
      if (status === Status.SERVICE_UNKNOWN) throw new Fault("not_found", "No such service.");
      return { status };
    },
    watch: ({ service }, { signal }) => this.#watch(service, signal),
  });

  async *#watch(service: string, signal: AbortSignal): AsyncGenerator<{ status: Status }> {
    let sent: Status | undefined;
    while (!signal.aborted) {
      const status = this.#status(service);
      if (status !== sent) {
        sent = status;
        yield { status };
      } else if (this.#closed) {
        return;
      } else {
        await this.#change(signal);
      }
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#changed.removeEventListener("change", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#changed.addEventListener("change", done);
      signal.addEventListener("abort", done);
    });
  }

  #status(service: string): Status {
    const serving = this.#serving.get(service);
    if (serving === undefined) return Status.SERVICE_UNKNOWN;
    return serving ? Status.SERVING : Status.NOT_SERVING;
  }
}

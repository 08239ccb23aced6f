import type { Server } from "node:http";
import { Shares } from "../http/shares.ts";
import { createCallerOf } from "./caller-address.ts";

/** Keeps at most `max` connections open, and `callerMax` of one address, a proxy's too; further ones are closed as they come. */
export function boundConnections(server: Server, max: number, callerMax: number): void {
  server.maxConnections = max;
  const shares = new Shares();
  const callerOf = createCallerOf(undefined);
  server.on("connection", (socket) => {
    const caller = callerOf(socket.remoteAddress, undefined);
    if (shares.get(caller) >= callerMax) {
      socket.destroy();
      return;
    }
    shares.add(caller, 1);
    socket.once("close", () => shares.add(caller, -1));
  });
}

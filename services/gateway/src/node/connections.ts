import type { Server } from "node:http";
import { Shares } from "../http/shares.ts";
import { createPeerOf } from "./peer-address.ts";

/** Keeps at most `max` connections open, and `peerMax` of one address, a proxy's too; further ones are closed as they come. */
export function boundConnections(server: Server, max: number, peerMax: number): void {
  server.maxConnections = max;
  const shares = new Shares();
  const peerOf = createPeerOf(undefined);
  server.on("connection", (socket) => {
    const peer = peerOf(socket.remoteAddress, undefined);
    if (shares.get(peer) >= peerMax) {
      socket.destroy();
      return;
    }
    shares.add(peer, 1);
    socket.once("close", () => shares.add(peer, -1));
  });
}

import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { expect, test } from "vitest";
import { boundConnections } from "../src/node/connections.ts";

test("one address may have its share of the connections, others have the rest, and what is closed is free again", async () => {
  const server = createServer();
  boundConnections(server, 4, 3);
  await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
  const { port } = server.address() as AddressInfo;
  /** Whether a connection from an address of this machine is kept. */
  const open = async (localAddress: string) => {
    const socket = connect({ port, host: "127.0.0.1", localAddress });
    socket.on("error", () => {}); // Being refused is what some are for.
    await once(socket, "connect");
    socket.write("GET / HTTP/1.1\r\nhost: x\r\n");
    const closed = once(socket, "close").then(() => true);
    const kept = new Promise<false>((resolve) => setTimeout(() => resolve(false), 200));
    return { socket, kept: !(await Promise.race([closed, kept])) };
  };
  try {
    const own = [await open("127.0.0.1"), await open("127.0.0.1"), await open("127.0.0.1")];
    expect(own.map(({ kept }) => kept)).toEqual([true, true, true]);
    expect((await open("127.0.0.1")).kept).toBe(false);
    expect((await open("127.0.0.2")).kept).toBe(true);
    expect((await open("127.0.0.3")).kept).toBe(false);
    own[0]?.socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await open("127.0.0.1")).kept).toBe(true);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

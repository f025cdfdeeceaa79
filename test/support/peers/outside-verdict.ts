/** What a caller makes of a server outside the mesh, on a connection of its own. */
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import type { Test } from "tap";
import { systemClock } from "../../../src/core/clock.ts";
import type { MeshError } from "../../../src/mesh/errors.ts";
import type { ClientTls } from "../../../src/resources/traffic-policy/client-tls.ts";
import {
  connectOutside,
  type OutsideOptions,
} from "../../../src/wire/tls/connect-outside.ts";

const NAME = "api.example.test";

export async function dialled(port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** "" where the server is believed, the reason where it is not; then the connection must be gone. */
export async function verdict(
  t: Test,
  port: number,
  tls: ClientTls,
  over: Partial<OutsideOptions> = {},
): Promise<string> {
  const socket = await dialled(port);
  try {
    const link = await connectOutside({
      socket,
      where: "outside",
      tls,
      serverName: tls.sni ?? NAME,
      protocol: "http/1.1",
      sessions: {},
      timeoutMs: 5000,
      clock: systemClock,
      signal: new AbortController().signal,
      ...over,
    });
    if (over.protocol === undefined && "protocol" in over) {
      link.socket.write("x");
      await once(link.socket, "data");
    }
    link.socket.destroy();
    return "";
  } catch (thrown) {
    const { code, message, unprocessed } = thrown as MeshError;
    t.ok(unprocessed, "nothing was sent");
    t.ok(socket.destroyed);
    return `${code} ${message}`;
  }
}

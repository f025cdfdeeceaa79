/** Which attempts to connect the kernel drops before a listener; and that nobody else, and no open connection, is touched. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import t, { type Test } from "tap";
import {
  dropSources,
  type FilteredSource,
} from "../../src/runtime/socket-filter.ts";
import { listening } from "../support/meshes/pair.ts";

const ONE = 0x7f000005; // 127.0.0.5
const OTHER = 0x7f000006; // 127.0.0.6

interface Listener {
  readonly server: Server;
  readonly port: number;
  /** The addresses of those of `from` that were accepted. The last of them must be one that is let in. */
  readonly accepted: (from: readonly string[]) => Promise<readonly string[]>;
}

async function listener(t: Test, host: string): Promise<Listener> {
  const sockets: Socket[] = [];
  let onAccepted: (address: string) => void = () => undefined;
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.pipe(socket);
    onAccepted(socket.remoteAddress?.replace("::ffff:", "") ?? "");
  });
  const port = await listening(server, host);
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    server,
    port,
    accepted(from) {
      const last = from.at(-1) ?? "";
      const seen: string[] = [];
      return new Promise((resolve) => {
        // Loopback keeps the order: whoever came before the last one and is not there by then, was dropped.
        onAccepted = (address) => {
          seen.push(address);
          if (address === last) resolve(seen);
        };
        for (const localAddress of from) {
          const socket = connect({
            port,
            host: localAddress.includes(":") ? "::1" : "127.0.0.1",
            localAddress,
          });
          socket.on("error", () => undefined);
          sockets.push(socket);
        }
      });
    },
  };
}

const dropped = (...words: number[]): FilteredSource => ({
  words,
  mayTry: false,
});

void t.test(
  "the kernel drops those of the sources alone",
  { skip: process.platform === "linux" ? false : "Linux alone has it" },
  async (t) => {
    const { server, accepted } = await listener(t, "127.0.0.1");
    const both = ["127.0.0.5", "127.0.0.6", "127.0.0.7"];
    t.same(await accepted(both), both);
    t.equal(dropSources(server, [dropped(OTHER), dropped(ONE)]), true);
    t.same(await accepted(both), ["127.0.0.7"]);
    t.equal(dropSources(server, [dropped(OTHER)]), true);
    t.same(await accepted(both), ["127.0.0.5", "127.0.0.7"]);
    t.equal(dropSources(server, []), true);
    t.same(await accepted(both), both);
  },
);

void t.test(
  "a /64 of IPv6 is a source, and an IPv4 caller of a socket for both families",
  { skip: process.platform === "linux" ? false : "Linux alone has it" },
  async (t) => {
    const { server, accepted } = await listener(t, "::");
    const callers = ["127.0.0.5", "::1", "127.0.0.7"];
    t.equal(dropSources(server, [dropped(0, 1), dropped(ONE, 0)]), true);
    t.same(await accepted(callers), callers, "neither is any of these");
    t.equal(dropSources(server, [dropped(1, 2), dropped(0, 0)]), true);
    t.same(await accepted(callers), ["127.0.0.5", "127.0.0.7"]);
    t.equal(dropSources(server, [dropped(0, 1), dropped(ONE)]), true);
    t.same(await accepted(callers), ["::1", "127.0.0.7"]);
  },
);

void t.test(
  "of those who may try again a part comes through, and what is open stays open",
  { skip: process.platform === "linux" ? false : "Linux alone has it" },
  async (t) => {
    const { server, port, accepted } = await listener(t, "127.0.0.1");
    const open = connect({
      port,
      host: "127.0.0.1",
      localAddress: "127.0.0.5",
    });
    await once(open, "connect");
    t.equal(dropSources(server, [{ words: [ONE], mayTry: true }]), true);
    const many = Array.from({ length: 300 }, () => "127.0.0.5");
    const seen = await accepted([...many, "127.0.0.7"]);
    // One in sixteen: 19 of 300.
    t.ok(seen.length > 1 && seen.length < 100, `${seen.length - 1} of 300`);
    t.equal(dropSources(server, [dropped(ONE)]), true);
    const echoed = once(open, "data");
    open.write("still here");
    t.equal(String((await echoed)[0]), "still here");
    open.destroy();
  },
);

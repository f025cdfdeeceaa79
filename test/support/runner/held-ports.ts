/**
 * The ports that Wherry has by default, held while tests run: a test that uses one fails here, and not only where somebody runs
 * `npm start` beside it. Tests in network namespaces of their own have all ports.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

/** Sidecar, control plane and demo. */
const PORTS = [
  15_000, 15_001, 15_006, 15_008, 15_012, 15_020, 15_053, 15_080, 15_090, 8080,
];
const RESOLVER = 15_053;
const HOST = "127.0.0.1";

/** Resolves once they are held, by this process or by another one, which is as good. Keeps no process alive. */
export async function holdPorts(): Promise<void> {
  const tcp = PORTS.map(
    (port) =>
      new Promise<void>((resolve) => {
        const server = createServer((socket) => socket.destroy());
        server.once("error", () => resolve());
        server.listen(port, HOST, resolve);
        server.unref();
      }),
  );
  const udp = new Promise<void>((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", () => resolve());
    socket.bind(RESOLVER, HOST, resolve);
    socket.unref();
  });
  await Promise.all([...tcp, udp]);
}

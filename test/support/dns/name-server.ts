/** A name server of a test: says by a function what it replies, by datagram and on connections. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import type { Test } from "tap";
import { framed, MessageReader } from "../../../src/wire/dns/stream.ts";

export interface AskedServer {
  readonly host: string;
  readonly port: number;
  /** What it was asked, "udp" or "tcp" and the bytes. */
  readonly heard: (readonly ["udp" | "tcp", Buffer])[];
  /** Resolves once it has heard so many. */
  hears(count: number): Promise<void>;
}

/** `reply` gives undefined where there is to be none. `at`: the system's resolver asks port 53 alone. */
export async function nameServer(
  t: Pick<Test, "teardown">,
  reply: (bytes: Buffer, by: "udp" | "tcp") => Buffer | undefined,
  at: { readonly host: string; readonly port: number } = {
    host: "127.0.0.1",
    port: 0,
  },
): Promise<AskedServer> {
  const heard: (readonly ["udp" | "tcp", Buffer])[] = [];
  const waiting: { readonly count: number; readonly go: () => void }[] = [];
  const hear = (by: "udp" | "tcp", bytes: Buffer): Buffer | undefined => {
    heard.push([by, bytes]);
    for (const { count, go } of waiting) if (heard.length >= count) go();
    return reply(bytes, by);
  };
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    const reader = new MessageReader(0xffff, (bytes) => {
      const answer = hear("tcp", bytes);
      if (answer !== undefined) socket.write(framed(answer));
    });
    socket.on("data", (bytes: Buffer) => reader.read(bytes));
  });
  server.listen(at.port, at.host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = createSocket("udp4");
  socket.on("message", (bytes, from) => {
    const answer = hear("udp", bytes);
    if (answer !== undefined) socket.send(answer, from.port, from.address);
  });
  socket.bind(port, at.host);
  await once(socket, "listening");
  t.teardown(() => {
    server.close();
    socket.close();
  });
  return {
    ...{ host: at.host, port, heard },
    hears: (count) =>
      new Promise((resolve) => {
        if (heard.length >= count) resolve();
        else waiting.push({ count, go: resolve });
      }),
  };
}

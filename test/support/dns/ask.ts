/** Asks a resolver, by datagram or on a connection, as an application's stub does. */
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { framed, MessageReader } from "../../../src/wire/dns/stream.ts";

/** Asks again each second, as a stub does: a machine under load drops datagrams. */
export function askByDatagram(
  port: number,
  bytes: Buffer,
  host = "127.0.0.1",
): Promise<Buffer> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise<Buffer>((resolve, reject) => {
    const send = (): void => socket.send(bytes, port, host);
    const again = setInterval(send, 1000);
    socket.on("error", reject);
    socket.on("message", resolve);
    socket.on("close", () => clearInterval(again));
    send();
  }).finally(() => socket.close());
}

/** Replies to all of them in one connection, in the order in which they come. */
export function askByConnection(
  port: number,
  questions: readonly Buffer[],
  host = "127.0.0.1",
): Promise<readonly Buffer[]> {
  const socket = connect({ port, host });
  const replies: Buffer[] = [];
  return new Promise<readonly Buffer[]>((resolve, reject) => {
    const reader = new MessageReader(0xffff, (reply) => replies.push(reply));
    socket.on("error", reject);
    socket.on("data", (bytes: Buffer) => {
      reader.read(bytes);
      if (replies.length === questions.length) resolve(replies);
    });
    socket.on("close", () => resolve(replies));
    socket.write(Buffer.concat(questions.map(framed)));
  }).finally(() => socket.destroy());
}

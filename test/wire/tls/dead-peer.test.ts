/** Both ends of a link ask the kernel to end it when the other is gone. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import {
  setSocketOption,
  socketOption,
} from "../../../src/runtime/socket-option.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import { UNACKNOWLEDGED } from "../../../src/wire/tls/dead-peer.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { connecting, listen, testLink } from "../../support/peers/link.ts";

// linux/in.h, linux/socket.h, linux/tcp.h
const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_KEEPIDLE = 4;
const TCP_USER_TIMEOUT = 18;

const skip = process.platform === "linux" ? false : "these options are Linux's";

function optionOf(socket: Socket, level: number, option: number): number {
  return socketOption(socket, level, option, 4)?.readUInt32LE() ?? Number.NaN;
}

void t.test("both ends of a link", { skip }, async (t) => {
  const mesh = fakeAuthority();
  const [web, orders] = [mesh.credentials("web"), mesh.credentials("orders")];
  const link = await testLink(orders);
  t.teardown(() => link.close());
  const client = await connectLink(connecting(web, orders)(link.port));
  t.teardown(() => client.socket.destroy());
  await link.settled(1);
  for (const socket of [client.socket, link.accepted[0]?.socket]) {
    if (socket === undefined) throw new Error("nobody was accepted");
    t.equal(optionOf(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), UNACKNOWLEDGED);
    t.equal(optionOf(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
    t.equal(optionOf(socket, IPPROTO_TCP, TCP_KEEPIDLE), 10, "seconds");
  }
});

void t.test("what cannot be set is told", { skip }, async (t) => {
  const server = createServer();
  const port = await listen(server);
  t.teardown(() => server.close());
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  t.ok(setSocketOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 1));
  t.notOk(setSocketOption(socket, IPPROTO_TCP, 9999, 1), "no such option");
  socket.destroy();
  t.notOk(setSocketOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 1));
});

/** The link's TLS as it should go: identities, protocols, credentials that change, and connecting that fails. */
import { once } from "node:events";
import { createServer as createTcpServer } from "node:net";
import { connect, createServer } from "node:tls";
import t from "tap";
import type { Protocol } from "../../../src/wire/exchange.ts";
import {
  linkServerOptions,
  presentedChain,
} from "../../../src/wire/tls/tls-context.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import {
  connecting,
  failureOf,
  listen,
  stranger,
  testLink,
} from "../../support/peers/link.ts";

const mesh = fakeAuthority();
const orders = mesh.credentials("orders");
const web = mesh.credentials("web");
const webClient = {
  cert: web.certificateChain,
  key: web.privateKey,
  ca: mesh.bundle,
};
const to = connecting(web, orders);

void t.test("both ends learn who the other is", async (t) => {
  const began = Date.now();
  const rows: [readonly Protocol[] | undefined, Protocol][] = [
    [undefined, "h2"],
    [["h2", "http/1.1"], "h2"],
    [["http/1.1"], "http/1.1"],
  ];
  for (const [alpn, protocol] of rows) {
    const link = await testLink(orders);
    t.teardown(() => link.close());
    const client = await connectLink(
      to(link.port, alpn === undefined ? {} : { alpn }),
    );
    t.teardown(() => client.socket.destroy());
    await link.settled(1);
    t.equal(client.protocol, protocol);
    const { lasts = 0, ...peer } = link.accepted[0]?.link ?? {};
    t.same(peer, {
      ...{ peer: web.spiffeId, uri: web.id, protocol },
      serverName: undefined,
    });
    const end = Math.min(web.notAfter, orders.notAfter);
    t.ok(lasts > end - Date.now() - 60_000 && lasts <= end - began, `${lasts}`);
    t.equal(client.socket.getProtocol(), "TLSv1.3");
    t.equal(link.listener.handshakes, 0);
  }
});

void t.test("the host that a handshake names", async (t) => {
  const link = await testLink(orders);
  t.teardown(() => link.close());
  const rows: readonly (readonly [string | undefined, string | undefined])[] = [
    ["orders.shop", "orders.shop"],
    ["Orders.Shop", "orders.shop"],
    ["orders shop", undefined],
    ["orders.shop:80", undefined],
    [undefined, undefined],
  ];
  for (const [index, [servername, expected]] of rows.entries()) {
    await stranger(
      link.port,
      { ...webClient, ...(servername === undefined ? {} : { servername }) },
      "x",
      link.settled(index + 1),
    );
    t.equal(
      link.accepted[index]?.link.serverName,
      expected,
      servername ?? "none",
    );
  }
});

void t.test("what came before the codec attached is not lost", async (t) => {
  const link = await testLink(orders, {
    onConnection: (socket) => socket.write("settings"),
  });
  t.teardown(() => link.close());
  const { socket } = await connectLink(to(link.port));
  t.teardown(() => socket.destroy());
  while (socket.readableLength === 0) await once(socket, "readable");
  const [chunk] = await new Promise<Buffer[]>((resolve) =>
    socket.once("data", (data: Buffer) => resolve([data])),
  );
  t.equal(chunk?.toString(), "settings");
});

void t.test(
  "a connection that breaks before anybody attached ends no process",
  async (t) => {
    const link = await testLink(orders, {
      onConnection: (socket) => socket.destroy(),
    });
    t.teardown(() => link.close());
    const { socket } = await connectLink(to(link.port));
    if (!socket.destroyed) {
      socket.write("into the void");
      await new Promise((resolve) => socket.once("close", resolve));
    }
    t.ok(socket.destroyed);
  },
);

void t.test("the groups are the agreed ones, in order", async (t) => {
  const link = await testLink(orders);
  t.teardown(() => link.close());
  for (const group of ["X25519MLKEM768", "X25519", "P-256"]) {
    const before = link.accepted.length + link.refused.length;
    const outcome = await stranger(
      link.port,
      { ...webClient, ecdhCurve: group },
      "x",
      link.settled(before + 1),
    );
    t.equal(outcome.protocol, "TLSv1.3", group);
  }
  t.equal(link.accepted.length, 3);
});

void t.test("new credentials are used by new handshakes", async (t) => {
  const link = await testLink(orders);
  t.teardown(() => link.close());
  const old = await connectLink(to(link.port));
  t.teardown(() => old.socket.destroy());
  const payments = mesh.credentials("payments");
  link.credentials.set(payments);
  t.equal((await failureOf(connectLink(to(link.port)))).code, "WRONG_IDENTITY");
  const renewed = await connectLink(to(link.port, { expected: payments.id }));
  t.teardown(() => renewed.socket.destroy());
  t.notOk(old.socket.destroyed, "the old connection lives on");
});

void t.test("connecting fails with what went wrong, unprocessed", async (t) => {
  const free = createTcpServer();
  const port = await listen(free);
  await new Promise((resolve) => free.close(resolve));
  const refused = await failureOf(connectLink(to(port)));
  t.equal(refused.code, "CONNECT_FAILED");
  t.match(refused.message, `127.0.0.1:${port}`);
  t.equal(refused.unprocessed, true);
  t.equal(
    (await failureOf(connectLink(to(70_000)))).code,
    "CONNECT_FAILED",
    "a port that does not exist",
  );

  const clock = fakeClock({ wall: Date.now() });
  const late = connectLink(to(port, { clock, timeoutMs: 100 }));
  clock.advance(100);
  t.equal((await failureOf(late)).code, "CONNECT_TIMEOUT");
  t.equal(clock.pending, 0);
});

void t.test(
  "a server that never answers the handshake is given up",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const silent = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      // The first bytes are the ClientHello.
      socket.once("data", () => clock.advance(100));
      socket.once("close", () => silent.close());
    });
    const port = await listen(silent);
    const failed = await failureOf(
      connectLink(to(port, { clock, timeoutMs: 100 })),
    );
    t.equal(failed.code, "TLS_FAILED");
    t.match(failed.message, "within 100 ms");
    await once(silent, "close");
  },
);

void t.test(
  "an abort stops the connecting and closes the socket",
  async (t) => {
    const controller = new AbortController();
    const silent = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () =>
        controller.abort(new Error("no longer needed")),
      );
      socket.once("close", () => silent.close());
    });
    const port = await listen(silent);
    const clock = fakeClock({ wall: Date.now() });
    await t.rejects(
      connectLink(to(port, { signal: controller.signal, clock })),
      { message: "no longer needed" },
    );
    await once(silent, "close");
    t.equal(clock.pending, 0);
    await t.rejects(connectLink(to(port, { signal: controller.signal })), {
      message: "no longer needed",
    });
  },
);

void t.test(
  "a listener without credentials refuses, and takes connections once it has them",
  async (t) => {
    const link = await testLink(undefined);
    t.teardown(() => link.close());
    t.equal((await failureOf(connectLink(to(link.port)))).code, "TLS_FAILED");
    t.match(link.refused, [{ reason: "no credentials" }]);
    link.credentials.set(orders);
    const { socket } = await connectLink(to(link.port));
    socket.destroy();
  },
);

void t.test(
  "the chain that a server presented can be looked at, root included",
  async (t) => {
    const server = createServer({
      ...linkServerOptions(orders),
      cert: orders.certificateChain + mesh.bundle,
    });
    server.on("secureConnection", (socket) => socket.end());
    const port = await listen(server);
    t.teardown(() => server.close());
    const socket = connect({
      host: "127.0.0.1",
      port,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
    });
    await once(socket, "secureConnect");
    const chain = presentedChain(socket);
    t.equal(chain.length, 3);
    t.equal(chain[2]?.fingerprint256, mesh.root.fingerprint256);
    socket.destroy();
  },
);

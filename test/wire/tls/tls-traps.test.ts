/** What Node does that the link must not do: each trap shown to be one, and the link shown to be free of it (law 5). */
import { once } from "node:events";
import { connect, createServer, type TLSSocket } from "node:tls";
import t from "tap";
import { systemClock } from "../../../src/core/clock.ts";
import { trustOf } from "../../../src/identity/trust.ts";
import {
  judgeSocket,
  linkServerOptions,
} from "../../../src/wire/tls/tls-context.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { listen, stranger, testLink } from "../../support/peers/link.ts";

const mesh = fakeAuthority();
const orders = mesh.credentials("orders");
const web = mesh.credentials("web");
const webClient = {
  cert: web.certificateChain,
  key: web.privateKey,
  ca: mesh.bundle,
};

void t.test(
  "after a change of credentials everything is judged as before",
  async (t) => {
    const link = await testLink(mesh.credentials("orders"));
    t.teardown(() => link.close());
    const judged = async (when: string): Promise<void> => {
      const rows: [string, Parameters<typeof stranger>[1], boolean][] = [
        ["TLS 1.2", { ...webClient, maxVersion: "TLSv1.2" }, false],
        ["P-384 alone", { ...webClient, ecdhCurve: "P-384" }, false],
        ["P-521 alone", { ...webClient, ecdhCurve: "P-521" }, false],
        ["P-256 alone", { ...webClient, ecdhCurve: "P-256" }, true],
        ["no certificate", { ca: mesh.bundle }, false],
        [
          "another authority",
          (({ certificateChain: cert, privateKey: key }) => ({ cert, key }))(
            fakeAuthority().issue(),
          ),
          false,
        ],
      ];
      for (const [what, options, taken] of rows) {
        const accepted = link.accepted.length;
        const settled = link.settled(accepted + link.refused.length + 1);
        await stranger(link.port, options, "x", settled);
        await settled;
        t.equal(
          link.accepted.length - accepted,
          taken ? 1 : 0,
          `${what} ${when}`,
        );
      }
    };
    await judged("before");
    link.credentials.set(mesh.credentials("orders"));
    await judged("after");
  },
);

void t.test(
  "Node's trap: a new context without every option admits TLS 1.2 and other groups",
  async (t) => {
    const server = createServer(linkServerOptions(orders));
    const port = await listen(server);
    t.teardown(() => server.close());
    const old = { ...webClient, maxVersion: "TLSv1.2" } as const;
    const group = { ...webClient, ecdhCurve: "P-384" };
    t.notOk((await stranger(port, old)).connected);
    t.notOk((await stranger(port, group)).connected);
    const { cert, key, ca } = linkServerOptions(orders);
    server.setSecureContext({ cert, key, ca });
    server.on("secureConnection", (socket) => socket.end());
    t.equal((await stranger(port, old)).protocol, "TLSv1.2");
    t.equal((await stranger(port, group)).protocol, "TLSv1.3");
    server.setSecureContext(linkServerOptions(orders));
    t.notOk((await stranger(port, old)).connected);
    t.notOk((await stranger(port, group)).connected);
  },
);

void t.test(
  "Node's trap: its own check refuses SVIDs, which name no host",
  async (t) => {
    const link = await testLink(orders);
    t.teardown(() => link.close());
    const socket = connect({
      host: "127.0.0.1",
      port: link.port,
      ALPNProtocols: ["h2"],
      ...webClient,
    });
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    t.equal(error.code, "ERR_TLS_CERT_ALTNAME_INVALID");
  },
);

void t.test(
  "an offered session ticket leads to a full handshake",
  async (t) => {
    const link = await testLink(orders, {
      onConnection: (socket) => socket.write("settings"),
    });
    t.teardown(() => link.close());
    const first = await withTicket(link.port);
    const again = connect({
      host: "127.0.0.1",
      port: link.port,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      // No certificate this time: the ticket is to vouch.
      ca: mesh.bundle,
      session: first,
    });
    again.on("error", () => undefined);
    await once(again, "secureConnect");
    t.equal(again.isSessionReused(), false);
    await link.settled(2);
    t.match(link.refused, [{ reason: "no certificate" }]);
    const honest = connect({
      host: "127.0.0.1",
      port: link.port,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      ...webClient,
      session: first,
    });
    await once(honest, "secureConnect");
    await link.settled(3);
    t.equal(honest.isSessionReused(), false);
    t.equal(link.accepted[1]?.socket.isSessionReused(), false);
    t.equal(link.accepted[1]?.link.uri, web.id);
    honest.destroy();
  },
);

void t.test(
  "Node's trap: a resumed session brings an identity that nobody proved; the judgement refuses it",
  async (t) => {
    const server = createServer({
      ...linkServerOptions(orders),
      secureOptions: 0,
    });
    const sockets: TLSSocket[] = [];
    server.on("secureConnection", (socket: TLSSocket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.write("settings");
    });
    const port = await listen(server);
    t.teardown(() => server.close());
    const session = await withTicket(port);
    const client = connect({
      host: "127.0.0.1",
      port,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      ca: mesh.bundle,
      session,
    });
    await once(client, "data");
    t.equal(client.isSessionReused(), true, "resumed with no certificate");
    const resumed = sockets.at(-1);
    t.equal(resumed?.isSessionReused(), true);
    t.equal(resumed?.authorized, true, "Node believes it");
    const trust = trustOf({ trustBundle: mesh.bundle }, systemClock);
    if (resumed !== undefined)
      t.equal(judgeSocket(resumed, ["cluster.local"], trust).ok, false);
    for (const socket of [client, ...sockets]) socket.destroy();
  },
);

/** A session that web has on the server. */
async function withTicket(port: number): Promise<Buffer> {
  const socket = connect({
    host: "127.0.0.1",
    port,
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
    ...webClient,
  });
  const ticket = once(socket, "session");
  // Tickets come with the first records after the handshake.
  socket.resume();
  const [session] = (await ticket) as [Buffer];
  socket.destroy();
  return session;
}

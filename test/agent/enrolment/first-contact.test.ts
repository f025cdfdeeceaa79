/** What a server has to show at the first contact, of which no more than the root's fingerprint is known. */
import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";
import t from "tap";
import { enrol } from "../../../src/agent/enrolment/enrol.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { fingerprintOf } from "../../../src/identity/pem.ts";
import { formatToken } from "../../../src/push/token.ts";
import type { Scope } from "../../support/control-plane/push-control-plane.ts";
import {
  beneath,
  leaf,
  mesh,
  nameConstraint,
  type Presented,
} from "../../support/certificates/presented.ts";

void t.test("a control plane is named with its address in brackets", (t) =>
  t.rejects(ask("[::1]:1"), {
    message: /^the control plane at \[::1\]:1 cannot be reached: connect E/,
  }),
);

const ANOTHER = /proved to be .*\/sa\/web, not the control plane/;
const UNPROVEN = /did not prove to be the control plane/;
const ROWS: readonly (readonly [
  string,
  Presented,
  { readonly message: RegExp; readonly connections: number },
])[] = [
  ["a chain to the root", leaf({}), { message: ANOTHER, connections: 1 }],
  [
    "one that OpenSSL alone can judge, and finds right",
    beneath({ limit: nameConstraint("cluster.local") }),
    { message: ANOTHER, connections: 2 },
  ],
  [
    "one that OpenSSL alone can judge, and refuses",
    beneath(
      { limit: nameConstraint("elsewhere.test") },
      {},
      mesh.id("control-plane", "wherry-system"),
    ),
    { message: UNPROVEN, connections: 2 },
  ],
];

for (const [what, presented, { message, connections }] of ROWS)
  void t.test(
    `${what}: nothing is said to a server that is not the control plane`,
    async (t) => {
      const server = await serve(t, presented);
      await t.rejects(ask(`127.0.0.1:${server.port}`), { message });
      t.equal(server.heard.connections, connections);
      t.equal(server.heard.bytes, 0);
    },
  );

void t.test("clocks that differ are not another mesh", async (t) => {
  const server = await serve(t, leaf({}));
  const clock = { ...systemClock, wall: () => Date.UTC(2000, 0, 1) };
  await t.rejects(ask(`127.0.0.1:${server.port}`, clock), {
    message:
      /^the control plane at \S+ made the token, but its certificate is not valid by this machine's clock, which says 2000-01-01T00:00:00\.000Z: it is valid from 20[2-9].*set the clocks of both machines/,
  });
  t.equal(server.heard.bytes, 0);
});

function ask(address: string, clock = systemClock): Promise<unknown> {
  return enrol({
    address,
    token: formatToken({
      id: "a",
      ca: fingerprintOf(mesh.root),
      secret: "s",
    }),
    name: "",
    clock,
    signal: new AbortController().signal,
  });
}

async function serve(
  t: Scope,
  { chain, key }: Presented,
): Promise<{
  readonly port: number;
  readonly heard: { connections: number; bytes: number };
}> {
  const heard = { connections: 0, bytes: 0 };
  const server = createServer(
    {
      ...{ cert: chain + mesh.bundle, key },
      ...{ minVersion: "TLSv1.3", ALPNProtocols: ["h2"] },
    },
    (socket) => {
      socket.on("data", (chunk: Buffer) => (heard.bytes += chunk.length));
      socket.on("error", () => undefined);
    },
  );
  server.on("connection", () => (heard.connections += 1));
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => void server.close());
  return { port: (server.address() as AddressInfo).port, heard };
}

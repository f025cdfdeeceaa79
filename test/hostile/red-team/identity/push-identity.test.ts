/** A stranger whose connection has the same ADDRESS:PORT as a sidecar's, on another local address of the control plane, is nobody (law 13). */
import { mkdtemp, rm } from "node:fs/promises";
import type { ClientHttp2Session } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { enrol } from "../../../../src/agent/enrolment/enrol.ts";
import { startControlPlane } from "../../../../src/control-plane/control-plane.ts";
import { createEnrolmentToken } from "../../../../src/control-plane/enrolment/enrolment-token.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { silentLogger } from "../../../../src/core/log.ts";
import type { Credentials } from "../../../../src/identity/credentials.ts";
import { generatePrivateKey } from "../../../../src/identity/private-key.ts";
import { createCsr } from "../../../../src/identity/x509.ts";
import {
  DISCOVERY,
  ENROLMENT,
  REGISTRATION,
} from "../../../../src/push/services.ts";
import {
  callOver,
  openSession,
  type Response,
} from "../../../support/peers/raw-grpc.ts";
import type { Scope } from "../../../support/control-plane/push-control-plane.ts";
import { REQUEST } from "../../../support/control-plane/raw-sidecar.ts";

const UNAUTHENTICATED = 16;
/** Connections of each side; each pair has an ADDRESS:PORT in common. */
const PAIRS = 8;

interface Plane {
  readonly port: number;
  readonly credentials: Credentials;
}

/** A control plane on every address of this machine, and the certificate of `orders`. */
async function start(t: Scope): Promise<Plane> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-red-"));
  const plane = await startControlPlane({
    stateDirectory: directory,
    store: "memory",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "0.0.0.0", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
  });
  t.after(async () => {
    await plane.close();
    await rm(directory, { recursive: true, force: true });
  });
  const port = Number(plane.pushAddress.split(":").at(-1));
  const { text } = await createEnrolmentToken(plane.store, systemClock, {
    namespace: "shop",
    serviceAccount: "orders",
    labels: { app: "orders" },
    ttl: 60_000,
    uses: 1,
    ca: plane.authority.fingerprint,
  });
  const credentials = await enrol({
    address: `127.0.0.1:${port}`,
    token: text,
    name: "orders-1",
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { port, credentials };
}

/** What each call that needs a certificate gets. */
async function tryAll(
  session: ClientHttp2Session,
): Promise<Record<string, Response>> {
  return {
    renew: await callOver(session, ENROLMENT.Renew, {
      csr: createCsr(generatePrivateKey()),
    }),
    register: await callOver(session, REGISTRATION.Register, {
      spec: JSON.stringify({ address: "127.0.0.1", ports: { http: 8080 } }),
    }),
    deregister: await callOver(session, REGISTRATION.Deregister, {}),
    config: await callOver(session, DISCOVERY.DeltaAggregatedResources, {
      ...REQUEST,
      node: { id: "shop/orders-1", metadata: {} },
      subscribe: ["*"],
    }),
  };
}

const codes = (responses: Record<string, Response>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(responses).map(([name, { code }]) => [name, code]),
  );

const ALL_REFUSED = {
  renew: UNAUTHENTICATED,
  register: UNAUTHENTICATED,
  deregister: UNAUTHENTICATED,
  config: UNAUTHENTICATED,
};

for (const first of ["stranger", "sidecar"] as const)
  void t.test(
    `a stranger shares ADDRESS:PORT with a sidecar, and ${first === "stranger" ? "came before" : "comes after"} it`,
    { timeout: 60_000 },
    async (t) => {
      const { port, credentials } = await start(t);
      const sessions: ClientHttp2Session[] = [];
      t.after(() => sessions.forEach((session) => session.destroy()));
      const open = async (
        host: string,
        localPort: number,
        own: Credentials | undefined,
      ): Promise<ClientHttp2Session> => {
        const session = await openSession({
          host,
          port,
          localAddress: "127.0.0.1",
          ...(localPort === 0 ? {} : { localPort }),
          ...(own === undefined
            ? {}
            : { cert: own.certificateChain, key: own.privateKey }),
        });
        sessions.push(session);
        return session;
      };
      const stranger = (at: number): Promise<ClientHttp2Session> =>
        open("127.0.0.2", at, undefined);
      const sidecar = (at: number): Promise<ClientHttp2Session> =>
        open("127.0.0.1", at, credentials);
      const pairs: {
        stranger: ClientHttp2Session;
        sidecar: ClientHttp2Session;
      }[] = [];
      for (let pair = 0; pair < PAIRS; pair += 1) {
        const one = await (first === "stranger" ? stranger(0) : sidecar(0));
        const shared = one.socket.localPort ?? 0;
        const other = await (first === "stranger"
          ? sidecar(shared)
          : stranger(shared));
        t.equal(other.socket.localPort, shared, "the port is shared");
        pairs.push(
          first === "stranger"
            ? { stranger: one, sidecar: other }
            : { stranger: other, sidecar: one },
        );
      }
      for (const { stranger } of pairs) {
        const responses = await tryAll(stranger);
        t.same(codes(responses), ALL_REFUSED);
        t.equal(
          Object.values(responses).reduce((sum, { bytes }) => sum + bytes, 0),
          0,
          "the stranger gets no byte",
        );
      }
      const [mine] = pairs;
      const own = mine === undefined ? undefined : await tryAll(mine.sidecar);
      t.same(
        own && {
          renew: own["renew"]?.code,
          register: own["register"]?.code,
          deregister: own["deregister"]?.code,
        },
        { renew: 0, register: 0, deregister: 0 },
        "the sidecar is itself",
      );
      t.ok((own?.["config"]?.bytes ?? 0) > 0, "and gets its config");
    },
  );

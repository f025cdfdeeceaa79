/** Sidecars with certificates of an external issuer: enrolled and renewed over the push port, many at once, and while the issuer is away. */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import t, { type Test } from "tap";
import { renew } from "../../../src/agent/enrolment/enrol.ts";
import { SIGNING } from "../../../src/control-plane/enrolment/signing-queue.ts";
import {
  openIssuer,
  type IssuerSettings,
} from "../../../src/control-plane/issuer/open-issuer.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import { RotationRunner } from "../../../src/control-plane/trust/rotation-runner.ts";
import {
  openTrust,
  type Trust,
} from "../../../src/control-plane/trust/trust.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { nextTurn } from "../../../src/core/slices.ts";
import { rootAbove } from "../../../src/identity/chain.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { readBinding } from "../../../src/identity/extensions.ts";
import { fingerprintOf, readCertificates } from "../../../src/identity/pem.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  leafExtensions,
  namesOf,
  oddCertificate,
  tlv,
} from "../../support/certificates/odd-certificates.ts";
import {
  signsAsAsked,
  signsAsVault,
  startSigningServer,
  type Call,
  type Reply,
} from "../../support/certificates/signing-server.ts";
import { csr, startEnrolment } from "../../support/control-plane/enrolment.ts";
import {
  eventually,
  MESH,
  startTestAgent,
  startTestControlPlane,
  temporaryDirectory,
  TRUST_DOMAIN,
  until,
} from "../../support/control-plane/push-control-plane.ts";
import { PEER } from "../../support/control-plane/registry.ts";

type Server = NonNullable<IssuerSettings["server"]>;

/** The roots of a mesh that is issued from the server. */
async function trustIn(
  t: Test,
  server: Partial<Server> & { readonly url: URL },
  roots: string,
): Promise<Trust> {
  const clock = systemClock;
  const directory = await temporaryDirectory(t);
  const rootsFile = join(directory, "roots.pem");
  const tokenFile = join(directory, "token");
  await writeFile(rootsFile, roots);
  await writeFile(tokenFile, "t1", { mode: 0o600 });
  const opened = await openIssuer(
    { rootsFile, server: { access: { kind: "http", tokenFile }, ...server } },
    { clock, logger: silentLogger },
  );
  t.teardown(() => opened.close());
  const trust = await openTrust({
    directory: join(directory, "authority"),
    ...{ store: openMemoryStore({ clock }), clock, logger: silentLogger },
    ...{ trustDomain: TRUST_DOMAIN, issuer: opened.issuer },
  });
  opened.follow(() => trust.followIssuer());
  return trust;
}

/** What peers would see. */
function shown({ certificateChain, trustBundle }: Credentials): object {
  const chain = readCertificates(certificateChain, "chain");
  const [leaf] = chain;
  const root = rootAbove(chain, readCertificates(trustBundle, "roots"));
  return {
    root: root === undefined ? undefined : fingerprintOf(root),
    binding: leaf === undefined ? undefined : readBinding(leaf),
  };
}

const ours = fakeAuthority();
const above = ours.issuing.certificate.toString();
const KINDS: Readonly<Record<string, (call: Call) => Reply>> = {
  http: signsAsAsked(ours.issuing, above),
  vault: signsAsVault(ours.issuing, [above, ours.bundle], () => Date.now()),
};

for (const [kind, signs] of Object.entries(KINDS))
  void t.test(
    `a sidecar lives on certificates of an issuer (${kind}), and goes on while it is away`,
    async (t) => {
      let isAway = false;
      const server = await startSigningServer((call) =>
        isAway ? [503, "away"] : signs(call),
      );
      t.teardown(() => server.close());
      const url = new URL(`${server.url}/sign`);
      const file = join(await temporaryDirectory(t), "token");
      await writeFile(file, "t1", { mode: 0o600 });
      const authority = await trustIn(
        t,
        kind === "vault"
          ? { url, access: { kind, by: { kind: "token", file } } }
          : { url },
        ours.bundle,
      );
      const plane = await startTestControlPlane(t, { authority });
      await plane.store.put(MESH, "absent");
      const agent = await startTestAgent(t, {
        controlPlane: plane.address,
        token: await plane.token(),
      });
      await eventually(agent.state, ({ connected }) => connected);
      const { entries } = await plane.store.audited({
        ...{ readable: "all", limit: 10 },
      });
      const noteOf = (verb: string): string | undefined =>
        entries.find((entry) => entry.verb === verb)?.note;
      t.match(noteOf("enrol"), `, signed by ${kind} ${url.href}`);
      const { value: credentials } = agent.credentials;
      if (credentials === undefined) throw new Error("there is no certificate");
      t.match(shown(credentials), {
        root: fingerprintOf(ours.root),
        binding: { labels: { app: "web" } },
      });
      t.equal(credentials.bundle?.issuer, fingerprintOf(ours.root));
      const runner = new RotationRunner({
        ...{ trust: authority, push: plane.push, registry: plane.registry },
        ...{ clock: systemClock, logger: silentLogger },
      });
      await until(async () => (await runner.view()).outside?.length === 0);
      await runner.close();
      const renewed = (): Promise<Credentials> =>
        renew({
          ...{ address: plane.address, credentials, clock: systemClock },
          signal: new AbortController().signal,
        });
      isAway = true;
      await t.rejects(renewed(), { message: /responded with 503: away/ });
      t.equal(agent.state.value.connected, true);
      t.equal(agent.credentials.value, credentials, "the old one goes on");
      isAway = false;
      t.same(shown(await renewed()), shown(credentials));
    },
  );

void t.test(
  "many renewals at once reach the issuer a few at a time",
  async (t) => {
    let open = 0;
    let most = 0;
    const signs = signsAsAsked(ours.issuing, above);
    const server = await startSigningServer(async (call) => {
      open += 1;
      most = Math.max(most, open);
      await nextTurn();
      open -= 1;
      return signs(call);
    });
    t.teardown(() => server.close());
    const url = new URL(`${server.url}/sign`);
    const issuer = await trustIn(t, { url }, ours.bundle);
    const { enrolment } = await startEnrolment(t, { issuer });
    const request = csr();
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, () => enrolment.renew(PEER, request)),
    );
    const failed = results.filter(({ status }) => status === "rejected");
    t.same(failed.slice(0, 1), []);
    t.ok(most <= SIGNING.atOnce, `${most} at a time`);
    t.equal(server.calls.length, 200);
  },
);

/** A server that asks for certificates of the same authority, and signs for those that have one. */
async function startTlsServer(
  t: Test,
  tls: ReturnType<typeof fakeAuthority>,
): Promise<URL> {
  const signs = signsAsAsked(ours.issuing, above);
  const { pem, privateKeyPem } = oddCertificate({
    issuer: tls.issuing,
    extensions: Object.values({
      ...leafExtensions(tls.id("issuer")),
      name: namesOf(tlv(0x87, Buffer.from([127, 0, 0, 1]))),
    }),
  });
  const server = createServer(
    {
      key: privateKeyPem,
      cert: pem + tls.issuing.certificate.toString(),
      ca: tls.bundle,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      const { socket } = request;
      const authorized = socket instanceof TLSSocket && socket.authorized;
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        const body = JSON.parse(text) as Call["body"];
        const [status, said] = authorized
          ? (signs({ path: "", headers: {}, body }) ?? [500, {}])
          : [401, {}];
        response.writeHead(status).end(JSON.stringify(said));
      });
    },
  );
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return new URL(`https://127.0.0.1:${port}/sign`);
}

void t.test(
  "an issuer by TLS is known by its authority, and knows this end by its certificate",
  async (t) => {
    const tls = fakeAuthority();
    const url = await startTlsServer(t, tls);
    const directory = await temporaryDirectory(t);
    const write = async (name: string, text: string): Promise<string> => {
      await writeFile(join(directory, name), text, { mode: 0o600 });
      return join(directory, name);
    };
    const client = tls.issue({ id: tls.id("control-plane") });
    const certificateFile = await write("client.pem", client.certificateChain);
    const keyFile = await write("client.key", client.privateKey);
    const caFile = await write("ca.pem", tls.bundle);
    const sign = async (server: Partial<Server>): Promise<string> => {
      const trust = await trustIn(t, { url, ...server }, ours.bundle);
      const subject = { spiffeId: ours.id("web"), name: "web-1", labels: {} };
      const { certificateChain } = await trust.sign(
        csr(),
        { ...subject, ttlMs: 3_600_000 },
        new AbortController().signal,
      );
      return certificateChain;
    };
    t.match(
      await sign({ caFile, certificateFile, keyFile }),
      /BEGIN CERTIFICATE/,
    );
    await t.rejects(sign({ caFile }), { message: /responded with 401/ });
    await t.rejects(sign({ certificateFile, keyFile }), {
      message: /self-signed|unable to/,
    });
    await write("ca.pem", ours.bundle);
    await t.rejects(sign({ caFile }), { message: /self-signed|unable to/ });
  },
);

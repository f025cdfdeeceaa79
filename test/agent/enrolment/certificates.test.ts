import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  connect,
  createServer,
  type AddressInfo,
  type Server,
  type Socket,
} from "node:net";
import { createServer as createTlsServer } from "node:tls";
import t from "tap";
import {
  startCertificates,
  type Certificates,
  type CertificatesOptions,
} from "../../../src/agent/enrolment/certificates.ts";
import { enrol } from "../../../src/agent/enrolment/enrol.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { openAuthority } from "../../../src/control-plane/authority/authority.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { fingerprintOf } from "../../../src/identity/pem.ts";
import { formatToken } from "../../../src/push/token.ts";
import { systemClock } from "../../../src/core/clock.ts";
import {
  eventually,
  MESH,
  startTestControlPlane,
  temporaryDirectory,
  until,
  type Scope,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";

const HOUR = 3_600_000;

interface Setting {
  readonly clock: FakeClock;
  readonly plane: TestControlPlane;
  readonly path: string;
  readonly start: (
    options?: Partial<CertificatesOptions>,
  ) => Promise<Certificates>;
}

/** OpenSSL judges by the system's time: a test's clock starts in the past, and what it issues until now is valid now. */
async function set(t: Scope, hoursAgo = 13, ttl = "24h"): Promise<Setting> {
  const clock = fakeClock({ wall: Date.now() - hoursAgo * HOUR });
  const plane = await startTestControlPlane(t, { clock });
  const spec = {
    authorization: { defaultAction: "ALLOW" },
    mtls: { certificateTTL: ttl },
  };
  await plane.store.put({ ...MESH, spec }, "absent");
  const path = await temporaryDirectory(t);
  return {
    clock,
    plane,
    path,
    start: async (options = {}) => {
      const certificates = await startCertificates({
        address: plane.address,
        token: await plane.token(),
        name: "web-1",
        directory: await openStateDirectory(path),
        rotateAt: () => 0.5,
        clock,
        logger: silentLogger,
        ...options,
      });
      t.after(() => certificates.close());
      return certificates;
    },
  };
}

void t.test(
  "a certificate is renewed at half life or a little earlier, with a new key",
  async (t) => {
    const { clock, start, path } = await set(t);
    const certificates = await start();
    const first = await kept(certificates, path);
    clock.advance(10.7 * HOUR);
    t.equal(certificates.credentials.value, first);
    clock.advance(1.4 * HOUR);
    const second = await eventually(
      certificates.credentials,
      (value) => value !== first,
    );
    t.equal(second?.id, first.id);
    t.not(second?.privateKey, first.privateKey);
    t.ok((second?.notAfter ?? 0) > first.notAfter);
    t.not(second?.generation, first.generation);
    t.same(certificates.fault.value, {});
    const renewed = await kept(certificates, path);
    await certificates.close();
    const again = await start({ token: undefined });
    t.equal(
      again.credentials.value?.privateKey,
      renewed.privateKey,
      "the next start finds it",
    );
  },
);

void t.test(
  "renewal goes on while the control plane is away, with an alarm at a quarter of the life",
  async (t) => {
    const setting = await set(t);
    const { clock, start, plane } = setting;
    await enrolOnce(setting);
    const certificates = await start({ token: undefined });
    const first = certificates.credentials.value;
    t.ok(first);
    await plane.close();
    await settled();
    clock.advance(13 * HOUR);
    await eventually(certificates.fault, ({ error }) => error !== undefined);
    t.equal(certificates.fault.value.alarm, undefined);
    t.equal(certificates.credentials.value, first);
    await advanceUntil(
      clock,
      300_000,
      () => certificates.fault.value.alarm !== undefined,
    );
    const left = (first?.notAfter ?? 0) - clock.wall();
    t.ok(left <= 6 * HOUR && left > 5.5 * HOUR, `${left / HOUR} h left`);
    t.match(
      certificates.fault.value.alarm,
      /expires at .* and cannot be renewed: /,
    );
    t.equal(certificates.credentials.value, first, "it is good until it ends");
  },
);

void t.test(
  "an expired certificate without a token is known, and tried with on and on",
  async (t) => {
    const setting = await set(t);
    const { clock, start, plane } = setting;
    await enrolOnce(setting);
    const certificates = await start({ token: undefined });
    await plane.close();
    await settled();
    clock.advance(25 * HOUR);
    await advanceUntil(
      clock,
      1000,
      () => certificates.credentials.value === undefined,
    );
    await advanceUntil(clock, 1000, () =>
      /the certificate expired at /.test(certificates.fault.value.error ?? ""),
    );
    t.ok(certificates.latest, "who it was stays known");
  },
);

void t.test(
  "an expired certificate with a token that has uses left leads to enrolling again",
  async (t) => {
    const setting = await set(t, 3, "1h");
    const { clock, start } = setting;
    await enrolOnce(setting);
    clock.advance(1.5 * HOUR);
    const away = await start({ address: "127.0.0.1:1" });
    t.equal(away.credentials.value, undefined);
    await eventually(away.fault, ({ error }) =>
      /cannot be reached/.test(error ?? ""),
    );
    t.match(away.fault.value.error, /the certificate expired at/);
    await away.close();
    const again = await start();
    t.equal(again.credentials.value, undefined);
    const second = await eventually(
      again.credentials,
      (value) => value !== undefined,
    );
    t.ok((second?.notAfter ?? 0) > clock.wall());
    t.same(again.fault.value, {});
  },
);

void t.test(
  "a token that is not valid there is tried again, and says what the control plane says",
  async (t) => {
    const { start, plane } = await set(t);
    const token = formatToken({
      id: "unknown",
      ca: plane.authority.fingerprint,
      secret: "x",
    });
    const certificates = await start({ token });
    await eventually(certificates.fault, ({ error }) =>
      /the token is not valid here/.test(error ?? ""),
    );
    t.equal(certificates.credentials.value, undefined);
  },
);

void t.test(
  "a control plane of another CA hears nothing of the token",
  async (t) => {
    const plane = await startTestControlPlane(t);
    const other = await openAuthority({
      directory: await temporaryDirectory(t),
      trustDomain: "cluster.local",
      clock: systemClock,
    });
    const token = formatToken({ id: "a", ca: other.fingerprint, secret: "s" });
    const { address, bytes } = await tap(t, plane.port);
    await t.rejects(
      enrol({
        address,
        token,
        name: "",
        clock: systemClock,
        signal: new AbortController().signal,
      }),
      {
        name: "UserError",
        message:
          /not the one that made the token: none of its certificates has the fingerprint/,
      },
    );
    t.equal(
      bytes.connections,
      1,
      "the handshake alone: no second connection, which would carry the token",
    );
  },
);

void t.test(
  "the root in the chain is not enough: the server's certificate must lead to it",
  async (t) => {
    const ours = fakeAuthority();
    const foreign = fakeAuthority();
    const impostor = foreign.issue({
      id: foreign.id("control-plane", "wherry-system"),
    });
    const port = await serveTls(t, {
      cert: impostor.certificateChain + ours.bundle,
      key: impostor.privateKey,
    });
    const token = formatToken({
      id: "a",
      ca: fingerprintOf(ours.root),
      secret: "s",
    });
    await t.rejects(
      enrol({
        address: `127.0.0.1:${port}`,
        token,
        name: "",
        clock: systemClock,
        signal: new AbortController().signal,
      }),
      { message: /not the one that made the token/ },
    );
  },
);

void t.test(
  "another workload of the same CA is not the control plane",
  async (t) => {
    const ours = fakeAuthority();
    const workload = ours.issue({ id: ours.id("web") });
    const heard: unknown[] = [];
    const port = await serveTls(
      t,
      {
        cert: workload.certificateChain + ours.bundle,
        key: workload.privateKey,
      },
      heard,
    );
    const token = formatToken({
      id: "a",
      ca: fingerprintOf(ours.root),
      secret: "s",
    });
    await t.rejects(
      enrol({
        address: `127.0.0.1:${port}`,
        token,
        name: "",
        clock: systemClock,
        signal: new AbortController().signal,
      }),
      {
        message:
          /proved to be spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web, not the control plane/,
      },
    );
    t.equal(heard.length, 0, "no byte was sent");
  },
);

void t.test("enrolling stops when it is told to", async (t) => {
  const silent = createServer();
  const port = await listen(t, silent);
  const stop = new AbortController();
  const enrolling = enrol({
    address: `127.0.0.1:${port}`,
    token: formatToken({ id: "a", ca: "ab".repeat(32), secret: "s" }),
    name: "",
    clock: systemClock,
    signal: stop.signal,
  });
  silent.once("connection", () => stop.abort(new Error("enough")));
  await t.rejects(enrolling, { message: "enough" });
});

/** The certificate in use, once it is on the disk and its renewal is planned. */
async function kept(
  certificates: Certificates,
  path: string,
): Promise<Credentials> {
  const credentials = await eventually(
    certificates.credentials,
    (value) => value !== undefined,
  );
  if (credentials === undefined) throw new Error("no certificate");
  const key = JSON.stringify(credentials.privateKey);
  await until(async () => {
    const file = join(path, "credentials.json");
    return (await readFile(file, "utf8").catch(() => "")).includes(key);
  });
  await settled();
  return credentials;
}

/** Lets a start plan the renewal. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
}

/** Enrols once: a later start finds the certificate on the disk and needs no token. */
async function enrolOnce({ start, path }: Setting): Promise<void> {
  const first = await start();
  await kept(first, path);
  await first.close();
}

async function advanceUntil(
  clock: FakeClock,
  ms: number,
  condition: () => boolean,
): Promise<void> {
  await until(() => {
    if (condition()) return true;
    clock.advance(ms);
    return false;
  });
}

async function listen(t: Scope, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function serveTls(
  t: Scope,
  pems: { cert: string; key: string },
  heard: unknown[] = [],
): Promise<number> {
  const server = createTlsServer(
    { ...pems, minVersion: "TLSv1.3", ALPNProtocols: ["h2"] },
    (socket) => {
      socket.on("data", (bytes: unknown) => heard.push(bytes));
      socket.on("error", () => undefined);
    },
  );
  server.on("tlsClientError", () => undefined);
  return listen(t, server);
}

/** A port that passes everything on to another, and counts. */
async function tap(
  t: Scope,
  target: number,
): Promise<{ address: string; bytes: { connections: number } }> {
  const bytes = { connections: 0 };
  const server = createServer((socket) => {
    bytes.connections += 1;
    const upstream = connect(target, "127.0.0.1");
    upstream.on("error", () => socket.destroy());
    socket.on("error", () => upstream.destroy());
    socket.pipe(upstream).pipe(socket);
  });
  return { address: `127.0.0.1:${await listen(t, server)}`, bytes };
}

/** Before the plane: cuts the connection on which the response of the first enrolment comes. */
async function losesFirstResponse(
  t: Scope,
  { port, meters }: TestControlPlane,
): Promise<string> {
  let cut = false;
  const relay = createServer((caller) => {
    const plane = connect(port, "127.0.0.1");
    caller.on("error", () => undefined).on("close", () => plane.destroy());
    plane.on("error", () => undefined).on("close", () => caller.destroy());
    caller.pipe(plane);
    plane.on("data", (chunk) => {
      if (!cut && meters.enrolments.with("issued").value > 0) {
        cut = true;
        caller.destroy();
      } else caller.write(chunk);
    });
  });
  await new Promise<void>((done) => relay.listen(0, "127.0.0.1", done));
  t.after(() => void relay.close());
  return `127.0.0.1:${(relay.address() as AddressInfo).port}`;
}

void t.test(
  "a response that is lost costs no other use of the token",
  async (t) => {
    const plane = await startTestControlPlane(t);
    const certificates = await startCertificates({
      address: await losesFirstResponse(t, plane),
      token: await plane.token({ uses: 1 }),
      name: "web-1",
      directory: await openStateDirectory(await temporaryDirectory(t)),
      rotateAt: () => 0.5,
      clock: systemClock,
      logger: silentLogger,
    });
    t.after(() => certificates.close());
    await eventually(certificates.credentials, (value) => value !== undefined);
    t.equal(plane.meters.enrolments.with("issued").value, 2);
  },
);

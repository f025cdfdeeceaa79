/** What somebody without a certificate can hold of the push port: few connections, streams and bytes, for seconds; and good callers get in beside them (law 15). */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { constants, type ClientHttp2Session } from "node:http2";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { enrol } from "../../../../src/agent/enrolment/enrol.ts";
import { startControlPlane } from "../../../../src/control-plane/control-plane.ts";
import { createEnrolmentToken } from "../../../../src/control-plane/enrolment/enrolment-token.ts";
import { systemClock, type Clock } from "../../../../src/core/clock.ts";
import { silentLogger } from "../../../../src/core/log.ts";
import type { Credentials } from "../../../../src/identity/credentials.ts";
import { DISCOVERY, ENROLMENT } from "../../../../src/push/services.ts";
import {
  until,
  type Scope,
} from "../../../support/control-plane/push-control-plane.ts";
import { openSession } from "../../../support/peers/raw-grpc.ts";

const RESOURCE_EXHAUSTED = 8;
const KIB = 1024;
const MIB = KIB * KIB;

interface Plane {
  readonly port: number;
  /** Lets time pass at once, for everything that looks at it from time to time. */
  readonly skip: (ms: number) => void;
  enrol(): Promise<Credentials>;
}

async function start(t: Scope): Promise<Plane> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-red-"));
  let skipped = 0;
  const sweeps = new Map<() => void, number>();
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + skipped,
    every(ms, run) {
      const cancel = systemClock.every(ms, run);
      if (ms <= 1000) sweeps.set(run, ms);
      return () => {
        sweeps.delete(run);
        cancel();
      };
    },
  };
  const plane = await startControlPlane({
    stateDirectory: directory,
    store: "memory",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "0.0.0.0", port: 0 },
    clock,
    logger: silentLogger,
    profile: "development",
  });
  t.after(async () => {
    await plane.close();
    await rm(directory, { recursive: true, force: true });
  });
  const port = Number(plane.pushAddress.split(":").at(-1));
  return {
    port,
    skip(ms) {
      skipped += ms;
      for (const [run, every] of sweeps)
        for (let left = ms; left >= every; left -= every) run();
    },
    async enrol() {
      const { text } = await createEnrolmentToken(plane.store, systemClock, {
        namespace: "shop",
        serviceAccount: "web",
        labels: {},
        ttl: 60_000,
        uses: 1,
        ca: plane.authority.fingerprint,
      });
      return enrol({
        address: `127.0.0.1:${port}`,
        token: text,
        name: "web-1",
        clock: systemClock,
        signal: new AbortController().signal,
      });
    },
  };
}

async function sessionTo(
  t: Scope,
  port: number,
  own?: Credentials,
): Promise<ClientHttp2Session> {
  const session = await openSession({
    host: "127.0.0.1",
    port,
    ...(own === undefined
      ? {}
      : { cert: own.certificateChain, key: own.privateKey }),
  });
  t.after(() => session.destroy());
  return session;
}

/** Announces a message of so many bytes and sends one of them: "kept" where the server waits for the rest, else gRPC's status. */
function announce(
  session: ClientHttp2Session,
  path: string,
  bytes: number,
): Promise<number | "kept"> {
  return new Promise((resolve) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      te: "trailers",
    });
    const take = (fields: Record<string, unknown>): void => {
      if (fields["grpc-status"] === undefined) return;
      resolve(Number(fields["grpc-status"]));
      stream.close();
    };
    stream.on("response", take);
    stream.on("trailers", take);
    stream.on("error", () => undefined);
    stream.on("close", () => resolve(-1));
    const head = Buffer.alloc(6);
    head.writeUInt32BE(bytes, 1);
    stream.write(head);
    // The server reads in order: an answered PING has the frames before it behind it. Twice, for the answer may take a turn.
    session.ping(() => session.ping(() => resolve("kept")));
  });
}

/** What the server's SETTINGS allow; nghttp2 refuses the streams beyond, also of who does not look at them. */
async function streamsAllowed(session: ClientHttp2Session): Promise<number> {
  await new Promise((resolve) => session.ping(resolve));
  return session.remoteSettings.maxConcurrentStreams ?? Infinity;
}

/** Silent connections from many addresses of this machine. */
async function silent(
  t: Scope,
  port: number,
  sources: number,
  each: number,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  for (let source = 0; source < sources; source += 1)
    await Promise.all(
      Array.from({ length: each }, async () => {
        const socket = connect({
          port,
          host: "127.0.0.1",
          localAddress: `127.0.1.${source + 1}`,
        });
        sockets.push(socket);
        socket.on("error", () => undefined);
        await once(socket, "connect");
      }),
    );
  return sockets;
}

const alive = (sockets: readonly Socket[]): number =>
  sockets.filter(({ closed, readyState }) => !closed && readyState === "open")
    .length;

void t.test(
  "a stranger's messages and streams are small and few",
  async (t) => {
    const { port } = await start(t);
    const session = await sessionTo(t, port);
    const rows: Record<string, number | "kept"> = {};
    for (const bytes of [16 * KIB, 16 * KIB + 1, 8 * MIB])
      for (const [name, { path }] of [
        ["Enrol", ENROLMENT.Enrol],
        ["Renew", ENROLMENT.Renew],
      ] as const)
        rows[`${name} ${bytes}`] = await announce(
          await sessionTo(t, port),
          path,
          bytes,
        );
    t.same(rows, {
      "Enrol 16384": "kept",
      "Renew 16384": "kept",
      "Enrol 16385": RESOURCE_EXHAUSTED,
      "Renew 16385": RESOURCE_EXHAUSTED,
      "Enrol 8388608": RESOURCE_EXHAUSTED,
      "Renew 8388608": RESOURCE_EXHAUSTED,
    });
    t.equal(await streamsAllowed(session), 2);
  },
);

void t.test(
  "strangers that say nothing, or only shake hands, are gone after 15 s",
  async (t) => {
    const { port, skip } = await start(t);
    const [mute] = await silent(t, port, 1, 1);
    const session = await sessionTo(t, port);
    skip(14_000);
    t.equal(mute?.closed, false);
    t.equal(session.closed, false);
    skip(1000);
    await until(() => mute?.closed === true);
    await until(() => session.closed);
    t.pass("both were closed");
  },
);

void t.test(
  "a source fills its share with silent connections, and a good token works at once",
  { timeout: 60_000 },
  async (t) => {
    const plane = await start(t);
    const sockets = await silent(t, plane.port, 1, 300);
    await until(() => alive(sockets) <= 256);
    t.ok(alive(sockets) > 200, "the rest is what a source may hold");
    t.equal((await plane.enrol()).id, "spiffe://cluster.local/ns/shop/sa/web");
    // They are there for a second: from now on the oldest makes room.
    plane.skip(1000);
    const [late] = await silent(t, plane.port, 1, 1);
    await until(() => alive(sockets) < 256);
    t.equal(late?.closed, false);
  },
);

void t.test("a sidecar's own bounds hold too", async (t) => {
  const plane = await start(t);
  const own = await plane.enrol();
  const session = await sessionTo(t, plane.port, own);
  const { path } = DISCOVERY.DeltaAggregatedResources;
  t.equal(await announce(session, path, 4 * MIB), "kept");
  t.equal(await announce(session, path, 4 * MIB + 1), RESOURCE_EXHAUSTED);
  t.equal(await streamsAllowed(session), 4);
  // Seven more make eight; the ninth connection ends the oldest.
  for (let count = 0; count < 7; count += 1)
    await sessionTo(t, plane.port, own);
  t.equal(session.closed, false);
  await sessionTo(t, plane.port, own);
  await until(() => session.closed);
  t.pass("the oldest was closed");
  t.equal((await plane.enrol()).id, own.id, "others get in");
});

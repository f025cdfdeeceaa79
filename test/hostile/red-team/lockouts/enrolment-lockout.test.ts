/** Strangers fail to enrol, from the address of a good caller and from many others: a good token works all the same. */
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
import { ENROLMENT } from "../../../../src/push/services.ts";
import { formatToken, makeSecret } from "../../../../src/push/token.ts";
import { callOver, openSession } from "../../../support/peers/raw-grpc.ts";

const OK = 0;
const FAILURES = 12;

void t.test(
  "12 failures from each of 51 addresses, the good caller's among them",
  { timeout: 60_000 },
  async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "wherry-red-"));
    const plane = await startControlPlane({
      stateDirectory: directory,
      store: "memory",
      trustDomain: "cluster.local",
      api: { host: "127.0.0.1", port: 0 },
      push: { host: "127.0.0.1", port: 0 },
      clock: systemClock,
      logger: silentLogger,
      profile: "development",
    });
    t.after(async () => {
      await plane.close();
      await rm(directory, { recursive: true, force: true });
    });
    const port = Number(plane.pushAddress.split(":").at(-1));
    const { fingerprint } = plane.authority;
    const good = await createEnrolmentToken(plane.store, systemClock, {
      namespace: "shop",
      serviceAccount: "web",
      labels: {},
      ttl: 60_000,
      uses: 2,
      ca: fingerprint,
    });
    const guess = (): string =>
      formatToken({ id: good.id, ca: fingerprint, secret: makeSecret() });
    const codes = new Map<number, number>();
    const fail = async (session: ClientHttp2Session): Promise<void> => {
      for (let count = 0; count < FAILURES; count += 1) {
        const request = { token: guess(), csr: "", name: "" };
        const { code } = await callOver(session, ENROLMENT.Enrol, request);
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
    };
    const from = async (localAddress: string): Promise<void> => {
      const session = await openSession({
        host: "127.0.0.1",
        port,
        localAddress,
      });
      await fail(session);
      session.destroy();
    };
    const enrolWell = (): Promise<string> =>
      enrol({
        address: `127.0.0.1:${port}`,
        token: good.text,
        name: "web-1",
        clock: systemClock,
        signal: new AbortController().signal,
      }).then(
        ({ id }) => id,
        (thrown: unknown) => String(thrown),
      );
    await from("127.0.0.1");
    t.equal(await enrolWell(), "spiffe://cluster.local/ns/shop/sa/web");
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => from(`127.0.1.${index + 1}`)),
    );
    t.equal(await enrolWell(), "spiffe://cluster.local/ns/shop/sa/web");
    t.equal(codes.get(OK), undefined, "no guess was taken");
    t.equal(
      Array.from(codes.values()).reduce((sum, count) => sum + count, 0),
      51 * FAILURES,
    );
  },
);

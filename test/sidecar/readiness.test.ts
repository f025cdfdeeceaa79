/** What a sidecar is ready with: the proxy's own checks, and the application's apart from them. */
import t from "tap";
import { watchSource } from "../../src/core/watch.ts";
import type { Credentials } from "../../src/identity/credentials.ts";
import type { Snapshot } from "../../src/policy/snapshot.ts";
import { makeReadiness } from "../../src/sidecar/readiness.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { send, until, withPair } from "../support/meshes/pair.ts";

const HOUR = 3_600_000;
const now = Date.now();
const snapshot = {
  version: { store: "test", revision: 7, digest: "" },
} as unknown as Snapshot;
const authority = fakeAuthority();
const valid = authority.credentials("web", {
  notBefore: now - HOUR,
  notAfter: now + HOUR,
});
const ended = authority.credentials("web", {
  notBefore: now - 2 * HOUR,
  notAfter: now - HOUR,
});

interface Row {
  readonly title: string;
  readonly credentials?: Credentials;
  readonly snapshot?: Snapshot;
  readonly answering?: boolean;
  readonly silent?: readonly (readonly [number, string])[];
  readonly leaving?: boolean;
  /** What the resolver is at; null: it may not be asked yet. */
  readonly resolver?: string | null;
  readonly proxy: boolean;
  readonly workload: boolean;
  /** Checks that fail. */
  readonly missing: readonly string[];
}

const ROWS: readonly Row[] = [
  {
    title: "nothing has come yet",
    proxy: false,
    workload: false,
    missing: ["certificate", "config", "application"],
  },
  {
    title: "the application answers, and has no proxy to call through",
    answering: true,
    proxy: false,
    workload: false,
    missing: ["certificate", "config"],
  },
  {
    title: "config and no certificate",
    snapshot,
    proxy: false,
    workload: false,
    missing: ["certificate", "application"],
  },
  {
    title: "a certificate and no config",
    credentials: valid,
    proxy: false,
    workload: false,
    missing: ["config", "application"],
  },
  {
    title: "the proxy is ready before its application is",
    credentials: valid,
    snapshot,
    proxy: true,
    workload: false,
    missing: ["application"],
  },
  {
    title: "all is there",
    credentials: valid,
    snapshot,
    answering: true,
    proxy: true,
    workload: true,
    missing: [],
  },
  {
    title: "one of its ports does not answer",
    credentials: valid,
    snapshot,
    answering: true,
    silent: [[8081, "127.0.0.1:8081: connection refused"]],
    proxy: true,
    workload: false,
    missing: ["application"],
  },
  {
    title: "a certificate that has ended is none",
    credentials: ended,
    snapshot,
    answering: true,
    proxy: false,
    workload: false,
    missing: ["certificate"],
  },
  {
    title: "one that has ended by this machine's clock alone is one",
    credentials: { ...ended, meshTime: { wall: now - 1.5 * HOUR, at: 0 } },
    snapshot,
    answering: true,
    proxy: true,
    workload: true,
    missing: [],
  },
  {
    title: "on its way out",
    credentials: valid,
    snapshot,
    answering: true,
    leaving: true,
    proxy: false,
    workload: false,
    missing: ["listeners"],
  },
  {
    title: "a resolver that does not listen yet",
    credentials: valid,
    snapshot,
    answering: true,
    resolver: null,
    proxy: false,
    workload: false,
    missing: ["resolver"],
  },
  {
    title: "a resolver that listens",
    credentials: valid,
    snapshot,
    answering: true,
    resolver: "port 15053",
    proxy: true,
    workload: true,
    missing: [],
  },
];

for (const row of ROWS)
  void t.test(row.title, (t) => {
    const readiness = makeReadiness({
      clock: fakeClock({ wall: now }),
      credentials: watchSource(row.credentials),
      snapshot: watchSource(row.snapshot),
      application: watchSource(
        row.answering === true
          ? { answers: true, silent: new Map(row.silent) }
          : undefined,
      ),
      leaving: () => row.leaving ?? false,
      resolver:
        row.resolver === undefined
          ? undefined
          : watchSource(row.resolver ?? undefined),
    });
    t.equal(readiness.proxy, row.proxy);
    t.equal(readiness.workload, row.workload);
    t.same(
      readiness
        .checks()
        .filter(({ ok }) => !ok)
        .map(({ name }) => name),
      row.missing,
    );
    t.end();
  });

void t.test(
  "law 12: an application that waits for its sidecar is let in: /readyz does not ask for it, /readyz?application does",
  async (t) => {
    await withPair({}, async (pair) => {
      const page = async (
        path: string,
      ): Promise<{ readonly status: number; readonly text: string }> =>
        send(pair.callee.ports.metrics ?? 0, { path, host: "127.0.0.1" });
      const [instance] = pair.instances;
      await until(() => pair.callee.readiness.workload);
      t.match(await page("/readyz?application"), {
        status: 200,
        text: /^ok\nlisteners +ok .*\ncertificate +ok .*\nconfig +ok .*\napplication +ok .*\n$/,
      });
      instance?.app.close();
      await until(() => !pair.callee.readiness.workload);
      t.match(await page("/readyz"), {
        status: 200,
        text: /^ok\n[^]*application +no {2}.*\(\/readyz\?application asks\)\n$/,
      });
      t.match(await page("/readyz?application"), {
        status: 503,
        text: /^NOT_READY: application\n/,
      });
    });
  },
);

// The root is rotated under load, in the demo's real processes: no call fails, one sidecar that is held back is named, and the old root opens nothing.
import { readFile } from "node:fs/promises";
import { connect, type ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import t from "tap";
import {
  call,
  closeCalls,
  eventually,
  openLoad,
  type Called,
} from "../../support/peers/call.ts";
import { startDemo } from "../../support/processes/demo.ts";

/** As many as somebody asks for; few, and light, where nobody does. */
const asked = (name: string, otherwise: number): number =>
  Number(process.env[name] ?? otherwise);
const ROTATIONS = asked("WHERRY_TEST_ROTATIONS", 1);
const LEAVES = asked("WHERRY_TEST_LEAVES", 10);
const RATE = asked("WHERRY_TEST_RATE", 50);
/** Milliseconds, besides those of each certificate. */
const PATIENCE = 60_000;
const SHORT_LIVES = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: {name: default}
spec:
  mtls: {certificateTTL: 2m, rotateAt: 0.1}
  authorization: {defaultAction: ALLOW}
`;

const demo = await startDemo();
const outbound = `http://127.0.0.1:${demo.instance("web-1").ports.outbound}`;
const traffic = (): Promise<Called> =>
  call(`${outbound}/products`, { headers: { host: "catalog.shop" } });
const failures = (results: readonly Called[]): string[] =>
  results
    .filter(({ status }) => status !== 200)
    .map(
      ({ status, headers, text }) =>
        `${status} ${String(headers["x-wherry-reason"])} ${text.slice(0, 200)}`,
    );

interface Trust {
  readonly roots: readonly { readonly fingerprint: string }[];
  readonly sidecars: number;
  readonly rotation?: {
    readonly phase: string;
    readonly behind: readonly { readonly sidecar: string }[];
  };
}
const trust = async (): Promise<Trust> =>
  JSON.parse(await demo.must("ca", "status", "-o", "json")) as Trust;
const renewed = async (): Promise<number> => {
  const { text } = await call(`${demo.file.api}/metrics`);
  const line =
    /^wherry_control_plane_renewals_total\{[^}]*issued[^}]*\} (\d+)/m;
  return Number(line.exec(text)?.[1] ?? 0);
};
/** An HTTP/2 connection to a sidecar, with the certificate that another has on its disk now. */
const peerOf = async (
  to: string,
  as: string,
): Promise<() => ClientHttp2Session> => {
  const file = join(demo.state, "sidecars", as, "credentials.json");
  const { content } = JSON.parse(await readFile(file, "utf8")) as {
    readonly content: Record<"certificateChain" | "privateKey", string>;
  };
  return () => {
    const session = connect(
      `https://127.0.0.1:${demo.instance(to).ports.link}`,
      {
        cert: content.certificateChain,
        key: content.privateKey,
        rejectUnauthorized: false,
        minVersion: "TLSv1.3",
        ecdhCurve: "X25519MLKEM768:X25519:P-256",
      },
    );
    session.on("error", () => undefined);
    return session;
  };
};
/** Status of a call on it; 0 where it has none. */
const statusOn = (session: ClientHttp2Session): Promise<number> =>
  new Promise((resolve) => {
    session.once("close", () => resolve(0));
    const stream = session.request({
      ":path": "/products",
      ":authority": "catalog.shop",
      "x-wherry-destination": "catalog.shop:80",
    });
    stream.on("error", () => resolve(0));
    stream.on("response", (head) => resolve(Number(head[":status"])));
    stream.resume();
  });
/** The process of a sidecar. */
const processOf = async (instance: string): Promise<number> => {
  const { text } = await call(`${demo.file.control}/processes`);
  const all = JSON.parse(text) as readonly {
    readonly name: string;
    readonly pid?: number;
  }[];
  const found = all.find(({ name }) => name === `${instance}/sidecar`)?.pid;
  if (found === undefined) throw new Error(`no process of ${instance}`);
  return found;
};

t.teardown(async () => {
  closeCalls();
  await demo.stop();
});

void t.test("no call fails while the root is rotated", async (t) => {
  await demo.apply(SHORT_LIVES);
  const load = openLoad(RATE, traffic);
  t.teardown(() => load.stop());
  for (let round = 1; round <= ROTATIONS; round += 1) {
    const [old] = (await trust()).roots;
    await demo.must("ca", "rotate", "--wait", "--timeout", "120s");
    const after = await trust();
    t.equal(after.rotation, undefined);
    t.equal(after.roots.length, 1);
    t.not(after.roots[0]?.fingerprint, old?.fingerprint, `rotation ${round}`);
  }
  t.ok((await renewed()) >= 9 * ROTATIONS, "every sidecar has a new one");
  await eventually(
    "certificates that live for a moment are renewed",
    PATIENCE + LEAVES * 3000,
    renewed,
    (count) => count >= 9 * ROTATIONS + LEAVES,
  );
  const results = await load.stop();
  t.ok(results.length > 0);
  t.same(failures(results), []);
  t.comment(`${results.length} calls, ${await renewed()} certificates`);
});

void t.test("what stands on the old root ends with it", async (t) => {
  const open = await peerOf("catalog-1", "web-1");
  const session = open();
  t.teardown(() => session.destroy());
  t.equal(await statusOn(session), 200, "it is a certificate of the mesh");
  const ended = new Promise((resolve) => session.once("close", resolve));
  await demo.must("ca", "rotate", "--wait", "--timeout", "120s");
  await ended;
  const again = open();
  t.teardown(() => again.destroy());
  t.equal(await statusOn(again), 0, "nothing of the old root is taken");
  const present = (await peerOf("catalog-1", "web-1"))();
  t.teardown(() => present.destroy());
  t.equal(await statusOn(present), 200);
});

void t.test(
  "a sidecar that is held back is waited for, and named",
  async (t) => {
    const held = await processOf("orders-2");
    process.kill(held, "SIGSTOP");
    try {
      const { code, stderr } = await demo.wherry(
        ...["ca", "rotate", "--wait", "--timeout", "3s"],
      );
      t.not(code, 0);
      t.match(stderr, /waits for 1:\n {2}shop\/orders-2: .*it goes on/s);
      const { rotation, roots } = await trust();
      t.match(rotation, {
        phase: "add",
        behind: [{ sidecar: "shop/orders-2" }],
      });
      t.equal(roots.length, 2, "the old root stays");
    } finally {
      process.kill(held, "SIGCONT");
    }
    await demo.must("ca", "rotate", "--wait", "--timeout", "120s");
    t.match(await trust(), { sidecars: 9, rotation: undefined });
  },
);

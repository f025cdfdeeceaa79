/** What the system's resolver meets in practice: each fault of a name, for all that sidecar and control plane look up, at a real name server. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type * as NamedMesh from "../support/meshes/named-mesh.ts";
import { eventually, type Called } from "../support/peers/call.ts";
import { runWherry } from "../support/processes/demo.ts";
import { untilReady } from "../support/processes/sidecar-process.ts";
import { needs } from "../support/processes/tools.ts";
import {
  throwIfEnded,
  type WherryProcess,
} from "../support/processes/wherry-process.ts";

const WITHIN = 60_000;
/** Mounts of its own, and a name server on port 53. */
const needsRoot = needs(process.getuid?.() === 0 ? [] : ["root"]);
/** Imported once it may run: it starts servers and processes. */
const named = (): Promise<typeof NamedMesh> =>
  import("../support/meshes/named-mesh.ts");

/** Resolves with the log once it has such a line. */
const logs = (
  what: string,
  from: { readonly process: WherryProcess } | undefined,
  line: RegExp,
): Promise<string> =>
  eventually(
    what,
    WITHIN,
    () => {
      if (from !== undefined) throwIfEnded(from.process);
      return Promise.resolve(from?.process.log ?? "");
    },
    (log) => log.split("\n").some((each) => line.test(each)),
  );
void t.test("an external issuer of certificates", needsRoot, async (t) => {
  const { running, own, start, directory, RESOURCES } = await named();
  const { plane } = running;
  const { code, stderr } = await runWherry(
    ["apply", "-f", "-"],
    { WHERRY_SERVER: plane.api, WHERRY_STATE: join(directory, "plane") },
    RESOURCES.map((each) => JSON.stringify(each)).join("\n---\n"),
  );
  t.equal(code, 0, stderr);
  own.set("issuer.test", "nxdomain");
  const web = await start({ token: await plane.token("web") });
  await logs("the sidecar", web, /ENOTFOUND issuer.test.*no new certificate/);
  for (const [fault, code] of [
    ["nxdomain", "ENOTFOUND"],
    ["servfail", "EAI_AGAIN"],
  ] as const) {
    own.set("issuer.test", fault);
    const line = new RegExp(`${code} issuer.test.*cannot be issued`);
    await logs(`the control plane, ${fault}`, plane, line);
  }
  own.set("issuer.test", "dead");
  await untilReady("web", web);
});

/** Statuses of an external host, of a token and of a provider, and what the first says. */
const ROWS: Readonly<
  Record<NamedMesh.Fault, readonly [number, number, number, RegExp]>
> = {
  nxdomain: [502, 401, 403, /the name does not resolve .ENOTFOUND/],
  servfail: [502, 401, 403, /the name does not resolve .EAI_AGAIN/],
  silent: [503, 401, 403, /the name did not resolve within/],
  dead: [200, 200, 200, /served/],
  moved: [200, 200, 200, /served/],
};

void t.test("external hosts, keys and providers", needsRoot, async (t) => {
  const { running, FAULTS, accessLog, heal, calls, comesIn, withToken } =
    await named();
  const silent = ["api", "1", "2", "3"].map((name) =>
    calls(`${name}.silent.test`),
  );
  // Their connections would hold all threads that resolve names, had each of them a look-up of its own.
  const asked = Array.from({ length: 12 }, () => comesIn("/asked/silent"));
  const good = await calls("api.good.test");
  t.equal(good.status, 200, good.text);
  for (const { status } of await Promise.all(asked)) t.equal(status, 403);
  const typo = await calls("orders-typo.nxdomain.test");
  t.match(typo, { status: 502, text: ROWS.nxdomain[3] }, "below a wildcard");
  for (const { status, text } of await Promise.all(silent)) {
    t.equal(status, ROWS.silent[0], text);
    t.match(text, ROWS.silent[3]);
  }
  await Promise.all(
    FAULTS.map(async (fault) => {
      const [outside, keys, provider, said] = ROWS[fault];
      // Above: whether a call or the resolver gives up first is chance by now.
      const isSilent = fault === "silent";
      const called = isSilent ? undefined : calls(`api.${fault}.test`);
      const asked = comesIn(`/asked/${fault}`);
      t.equal((await withToken(fault)).status, keys, `keys, ${fault}`);
      t.equal((await asked).status, provider, `provider, ${fault}`);
      const got = await called;
      if (got === undefined) return;
      t.match(got.text, said, fault);
      t.equal(got.status, outside, `outside, ${fault}`);
    }),
  );
  t.equal((await comesIn("/")).text, "web", "it serves");
  for (const fault of ["nxdomain", "servfail", "silent"]) {
    const line = new RegExp(`keys[.]${fault}[.]test.*cannot be fetched`);
    const log = await logs(`keys, ${fault}`, running.web, line);
    t.equal(
      log.split("\n").filter((each) => line.test(each)).length,
      1,
      "once",
    );
    await eventually(
      `the access log says of the provider: ${fault}`,
      WITHIN,
      () => Promise.resolve(readFileSync(accessLog, "utf8")),
      (text) => new RegExp(`asks provider ${fault}, and it failed`).test(text),
    );
  }

  await heal();
  await Promise.all(
    FAULTS.flatMap((fault) => [
      recovers(`outside, ${fault}`, () => calls(`api.${fault}.test`)),
      recovers(`keys, ${fault}`, () => withToken(fault)),
      recovers(`provider, ${fault}`, () => comesIn(`/asked/${fault}`)),
    ]),
  );
});

function recovers(
  what: string,
  attempt: () => Promise<Called>,
): Promise<Called> {
  return eventually(what, WITHIN, attempt, ({ status }) => status === 200);
}

/** How it is found again each time: at one of three addresses, of which two are dead, or as before. */
const PROCESS_FAULTS = [
  ["nxdomain", "ENOTFOUND", "dead"],
  ["servfail", "EAI_AGAIN", "well"],
  ["silent", "EAI_AGAIN", "dead"],
  ["no resolv.conf", "EAI_AGAIN", "well"],
] as const;

void t.test("control plane and collector", needsRoot, async (t) => {
  const { running, own, resolves, start, heard, comesIn } = await named();
  for (const [fault, code, next] of PROCESS_FAULTS) {
    await running.web?.process.stop();
    own.set("plane.test", fault).set("collector.test", fault);
    resolves(fault !== "no resolv.conf");
    const web = await start();
    await untilReady(`web, ${fault}`, web);
    const { text } = await comesIn("/");
    t.equal(text, "web", `it serves: ${fault}`);
    await logs(
      `plane, ${fault}`,
      web,
      /plane.test.*no connection to the control plane/,
    );
    const line = new RegExp(`${code} collector.test.*does not take spans`);
    await logs(`collector, ${fault}`, web, line);
    heard.length = 0;
    resolves(true);
    own.set("plane.test", next).set("collector.test", next);
    await logs(`connected, ${fault}`, web, /connected to the control plane/);
    await eventually(
      `the collector, ${fault}`,
      WITHIN,
      async () => {
        await comesIn("/");
        return heard;
      },
      (urls) => urls.some((url) => url.startsWith("collector.test")),
    );
  }
});

void t.test("the control plane has another address", needsRoot, async () => {
  const { running, movePlane } = await named();
  await movePlane();
  await eventually(
    "the sidecar has found it",
    WITHIN,
    async () =>
      JSON.parse((await running.plane.ask("GET", "/status")).text) as {
        sidecars: { connected: boolean }[];
      },
    ({ sidecars }) => sidecars.some(({ connected }) => connected),
  );
});

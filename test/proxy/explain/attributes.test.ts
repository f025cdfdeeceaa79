/** Each attribute that a policy can ask for: the sidecar, its dry run, `wherry explain` and `wherry test` find the same, or say what is not given. */
import t, { type Test } from "tap";
import {
  calleesOf,
  callerFor,
  explainRequest,
  type AskedRequest,
  type Explained,
  type World,
} from "../../../src/cli/explaining.ts";
import { differences } from "../../../src/cli/test/compare.ts";
import { lookupIn } from "../../../src/policy/explain/decision.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Pair,
  type PairOptions,
} from "../../support/meshes/pair.ts";
import {
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../support/tokens/issuer.ts";
import { tokensOf } from "../../support/tokens/token-mesh.ts";

const key = await testKey("ES256", "k1");
const bearer = await token(key, {
  claims: { aud: "shop", azp: "app", groups: ["staff"] },
});
const WEB = "cluster.local/ns/shop/sa/web";
const SELECTOR = { matchLabels: { app: "orders" } };

interface Row {
  readonly key: string;
  /** A value that the calls below have, and one that they do not; in plaintext a call may have none. */
  readonly has: string;
  readonly hasNot: string;
  readonly identity: boolean;
  readonly plaintext: boolean;
  /** Without the caller's address nothing is known in plaintext. */
  readonly byAddress?: boolean;
}

const both = { identity: true, plaintext: true };
const identified = { identity: true, plaintext: false };
const ROWS: readonly Row[] = [
  ...["source.ip", "destination.ip"].map((key) => ({
    ...{ key, has: "127.0.0.0/8", hasNot: "10.0.0.0/8", ...both },
    byAddress: key === "source.ip",
  })),
  // One trusted hop: what the caller with an identity says, and what the socket of the other says.
  {
    ...{ key: "remote.ip", has: "203.0.113.0/24", hasNot: "10.0.0.0/8" },
    ...{ ...identified, byAddress: true },
  },
  {
    ...{ key: "remote.ip", has: "127.0.0.1", hasNot: "10.0.0.0/8" },
    ...{ identity: false, plaintext: true, byAddress: true },
  },
  {
    ...{ key: "request.headers[x-forwarded-for]", has: "127.0.0.1" },
    ...{ hasNot: "10.0.0.1", identity: false, plaintext: true },
    byAddress: true,
  },
  { key: "source.namespace", has: "shop", hasNot: "far", ...identified },
  { key: "source.principal", has: WEB, hasNot: `${WEB}x`, ...identified },
  {
    ...{ key: "source.serviceAccount", has: "shop/web", hasNot: "shop/other" },
    ...identified,
  },
  { key: "destination.port", has: "PORT", hasNot: "1", ...both },
  // The link of a sidecar names no host, and plaintext HTTP has no TLS.
  {
    ...{ key: "connection.sni", has: "none", hasNot: "*" },
    ...{ identity: false, plaintext: false },
  },
  {
    ...{ key: "request.auth.principal", has: `${ISSUER}/alice` },
    ...{ hasNot: `${ISSUER}/bob`, ...both },
  },
  { key: "request.auth.audiences", has: "shop", hasNot: "other", ...both },
  { key: "request.auth.presenter", has: "app", hasNot: "other", ...both },
  {
    ...{ key: "request.auth.claims[groups]", has: "staff", hasNot: "guests" },
    ...both,
  },
  { key: "request.headers[x-user]", has: "qa", hasNot: "dev", ...both },
];

const FIELDS: Readonly<Record<string, string>> = {
  authorization: `Bearer ${bearer}`,
  "x-user": "qa",
  // Kept of a caller with an identity alone.
  "x-forwarded-for": "10.0.0.1, 203.0.113.9",
};

/** Each policy of a row: whether it takes a call that has the value, when the call has any of them. */
function conditionsOf({
  key,
  has,
  hasNot,
}: Row): readonly (readonly [
  condition: object,
  meets: (has: boolean) => boolean,
])[] {
  return [
    [{ key, values: [has] }, (isThere) => isThere],
    [{ key, values: [hasNot] }, () => false],
    [{ key, notValues: [has] }, (isThere) => !isThere],
    [{ key, notValues: [hasNot] }, () => true],
  ];
}

function policyOf(action: string, condition: object, trial: boolean): Resource {
  const annotations = { "istio.io/dry-run": "true" };
  return resource(
    "AuthorizationPolicy",
    "policy",
    { selector: SELECTOR, action, rules: [{ when: [condition] }] },
    trial ? { annotations } : {},
  );
}

const MESH = { mtls: { mode: "PERMISSIVE" }, trustedHops: 1 };
const OPTIONS: PairOptions = { mesh: MESH, calleePublish: true };

/** What a person has in files. */
function worldOf(pair: Pair, policies: readonly Resource[]): World {
  const [instance] = pair.instances;
  return {
    resources: [
      resource("Mesh", "default", {
        authorization: { defaultAction: "ALLOW" },
        ...MESH,
      }),
      resource("Service", "orders", {
        ports: [{ name: "http", port: 80, appProtocol: "http" }],
        selector: { app: "orders" },
      }),
      resource(
        "Workload",
        "orders-1",
        {
          ...{ address: "127.0.0.1", serviceAccount: "orders" },
          ports: { http: instance?.appPort ?? 0 },
          link: { port: pair.callee.ports.link ?? 0 },
        },
        { labels: { app: "orders" } },
      ),
      resource(
        "Workload",
        "web-1",
        { address: "127.0.0.1", serviceAccount: "web" },
        { labels: { app: "web" } },
      ),
      ...policies,
    ],
    version: { store: "test", revision: 1, digest: "" },
  };
}

function ask(
  world: World,
  from: string | undefined,
  more: Partial<AskedRequest>,
): Explained {
  const url = "http://orders.shop/";
  return explainRequest({
    request: {
      ...{ method: "GET", url, headers: Object.entries(FIELDS) },
      ...more,
    },
    caller: callerFor(world)(from, url),
    calleeOf: calleesOf(world),
    workload: undefined,
    wall: 0,
  });
}

/** Fields of `expect` that `wherry test` finds otherwise. */
function failing(
  expect: Parameters<typeof differences>[0],
  explained: Explained,
  world: World,
): readonly string[] {
  const found = differences(expect, explained, lookupIn(world.resources));
  return [...new Set(found.map(({ field }) => field.split(".")[0] ?? ""))];
}

const published = ({ callee }: Pair): number =>
  callee.ports.published.values().next().value ?? 0;

async function compare(
  t: Test,
  pair: Pair,
  row: Row,
  from: string | undefined,
): Promise<void> {
  const isThere = from === undefined ? row.plaintext : row.identity;
  const fromIp = from === undefined ? { fromIp: "127.0.0.1" } : {};
  const port = String(pair.instances[0]?.appPort ?? 0);
  const placed = { ...row, has: row.has === "PORT" ? port : row.has };
  for (const [condition, meets] of conditionsOf(placed))
    for (const action of ["ALLOW", "DENY"])
      for (const trial of [false, true]) {
        const label = `${trial ? "dry run of " : ""}${action} ${JSON.stringify(condition)} ${from ?? "in plaintext"}`;
        const policies = [
          tokensOf([
            {
              ...{ issuer: ISSUER, jwks: keySetText(key) },
              forwardOriginalToken: true,
            },
          ]),
          policyOf(action, condition, trial),
        ];
        pair.apply(policies);
        pair.spans.length = 0;
        const { status } =
          from === undefined
            ? await send(published(pair), { headers: FIELDS })
            : await pair.call({ headers: FIELDS });
        const takes = meets(isThere);
        const passes = (action === "ALLOW") === takes;
        t.equal(status, trial || passes ? 200 : 403, label);
        const world = worldOf(pair, policies);
        const explained = ask(world, from, fromIp);
        const { outcome } = explained;
        t.equal(outcome.allowed, trial || passes, `explain: ${label}`);
        t.equal(outcome.dependsOn, undefined, label);
        const effect = trial && !passes ? "refused" : "none";
        if (trial && !passes)
          await until(() =>
            pair.spans.some(
              ({ attributes }) =>
                attributes["wherry.shadow"] === "shop/policy: refused",
            ),
          );
        const expect = trial
          ? { allowed: true, shadow: { "shop/policy": effect } as const }
          : { allowed: passes };
        t.strictSame(failing(expect, explained, world), [], `test: ${label}`);
        if (from !== undefined) continue;
        const without = ask(world, from, {});
        t.strictSame(
          failing(expect, without, world),
          row.byAddress === true ? [trial ? "shadow" : "allowed"] : [],
          `without an address: ${label}`,
        );
      }
}

void t.test("a caller with an identity, and one in plaintext", async (t) => {
  await withPair(OPTIONS, async (pair) => {
    for (const row of ROWS)
      for (const from of ["shop/web", undefined])
        // What only one of them can have is asked of that one.
        if (row.key !== "remote.ip" && !row.key.endsWith("-for]"))
          await compare(t, pair, row, from);
        else if (from === undefined ? row.plaintext : row.identity)
          await compare(t, pair, row, from);
  });
});

void t.test(
  "a proxy that the sidecar trusts says where it comes from",
  async (t) => {
    const trustedProxies = ["127.0.0.0/8"];
    const condition = { key: "remote.ip", values: ["203.0.113.9"] };
    await withPair({ ...OPTIONS, callee: { trustedProxies } }, async (pair) => {
      const policies = [policyOf("ALLOW", condition, false)];
      pair.apply(policies);
      const { status } = await send(published(pair), { headers: FIELDS });
      t.equal(status, 200);
      const world = worldOf(pair, policies);
      const allowed = (more: Partial<AskedRequest>): boolean =>
        ask(world, undefined, { fromIp: "127.0.0.1", ...more }).outcome.allowed;
      t.equal(allowed({ trustedProxies }), true);
      t.equal(allowed({ trustedProxies: ["10.0.0.0/8"] }), false);
      t.equal(allowed({}), false);
    });
  },
);

void t.test(
  "the address of a Workload serves for its account, and is named",
  async (t) => {
    await withPair(OPTIONS, (pair) => {
      const note =
        "the caller's address is 127.0.0.1, that of Workload shop/web-1";
      const detailsOf = (
        policy: Resource,
        fromIp?: string,
      ): readonly string[] =>
        ask(worldOf(pair, [policy]), "shop/web", { fromIp }).decisions.find(
          ({ step }) => step === "authorization",
        )?.details ?? [];
      const byIp = (trial: boolean): Resource =>
        policyOf("DENY", { key: "source.ip", values: ["10.0.0.0/8"] }, trial);
      const byHeader = policyOf(
        "DENY",
        { key: "request.headers[x-user]", values: ["x"] },
        false,
      );
      t.strictSame(detailsOf(byIp(false)), [note]);
      t.strictSame(detailsOf(byIp(true)), [note]);
      t.strictSame(detailsOf(byIp(false), "127.0.0.2"), [], "it was given");
      t.strictSame(detailsOf(byHeader), [], "nothing asks for it");
      t.equal(
        ask(worldOf(pair, [byIp(false)]), "shop/web", { fromIp: "10.1.2.3" })
          .outcome.reason,
        "DENIED",
      );
      return Promise.resolve();
    });
  },
);

/** The proxy's verdict, its explanation and what `wherry test` asks, beside a slow and literal reading of Istio's reference (trap 3). */
import { isDeepStrictEqual } from "node:util";
import t from "tap";
import { verifiedClaims } from "../../../src/identity/jwt/claims.ts";
import { MESH_NAME } from "../../../src/resources/mesh/schema.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { AuthorizationPolicySpec } from "../../../src/resources/authorization-policy/spec.ts";
import { validate } from "../../../src/resources/validate.ts";
import type { Verdict } from "../../../src/policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../../src/policy/authorization/call.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { ShadowFinding } from "../../../src/policy/authorization/shadow.ts";
import { explainCallee } from "../../../src/policy/explain/callee.ts";
import { lookupIn } from "../../../src/policy/explain/decision.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import {
  actingOf,
  oracle,
  type OracleCall,
  type OracleMesh,
  type OraclePolicy,
} from "../../support/authorization/oracle.ts";
import {
  ISSUERS,
  PROVIDERS,
  randomCall,
  randomMeshOf,
  randomPolicies,
} from "../../support/authorization/random-calls.ts";
import { asks, trials } from "../../support/authorization/trial-oracle.ts";
import {
  authorizationPolicy,
  mesh,
  self,
  service,
  VERSION,
  headersOf,
} from "../../support/resources/policy-fixtures.ts";
import { seeded } from "../../support/resources/random-policy.ts";

/** Pairs of a policy set and a call; `WHERRY_ORACLE_PAIRS=200000` for the long form. */
const PAIRS = Number(process.env["WHERRY_ORACLE_PAIRS"] ?? 10_000);
const SEED = Number(process.env["WHERRY_ORACLE_SEED"] ?? Date.now() % 1e9);
const CALLS = 50;
const WORKLOAD = { namespace: "shop", labels: { app: "orders" } };

function resourceOf(policy: OraclePolicy): Resource {
  const { namespace, name, labels, action, provider, dryRun, rules } = policy;
  const spec = {
    action,
    ...(provider === undefined ? {} : { provider: { name: provider } }),
    ...(labels === undefined ? {} : { selector: { matchLabels: labels } }),
    ...(rules === undefined ? {} : { rules }),
  };
  return authorizationPolicy(
    `${namespace}/${name}`,
    spec as AuthorizationPolicySpec,
    dryRun === true ? { annotations: { "istio.io/dry-run": "true" } } : {},
  );
}

function factsOf({
  peer,
  port,
  source,
  destination,
  sni,
  http,
  token,
}: OracleCall): AuthorizationFacts {
  return {
    peer:
      peer && `spiffe://${peer.domain}/ns/${peer.namespace}/sa/${peer.account}`,
    port,
    connection: {
      ...{ remoteAddress: source, localAddress: destination },
      serverName: sni,
    },
    request: http && {
      ...http,
      ...headersOf(http.headers),
    },
    claims: token && verifiedClaims(token),
  };
}

const TOKENS: Resource = {
  apiVersion: "security.istio.io/v1",
  kind: "RequestAuthentication",
  metadata: { namespace: "shop", name: "tokens" },
  spec: { jwtRules: ISSUERS.map((issuer) => ({ issuer, jwksUri: issuer })) },
};

const [BY_GRPC = "", BY_HTTP = ""] = PROVIDERS;
const MESH_PROVIDERS = [
  { name: BY_GRPC, grpc: { address: "127.0.0.1:1" } },
  { name: BY_HTTP, http: { address: "127.0.0.1:1" } },
];

/** Nobody has its name, or it speaks HTTP and the call is bytes. */
function cannotBeAsked(asked: string, { http }: OracleCall): boolean {
  const [provider] = asked.split(" ");
  return provider !== BY_GRPC && (provider !== BY_HTTP || http === undefined);
}

function findings(shadow: readonly ShadowFinding[]): readonly string[] {
  return shadow
    .map(({ policy, effect, rule }) =>
      rule === undefined
        ? `${policy} ${effect}`
        : `${policy}[${rule}] ${effect}`,
    )
    .sort();
}

function said(verdict: Verdict): string {
  if (verdict.kind === "allow") return "allow";
  return verdict.code === "DENIED"
    ? `deny by ${verdict.policy} rule ${verdict.rule ?? -1}`
    : "not allowed";
}

/**
 * What `explain` and `wherry test` find, and what is on trial; they normalise the path themselves, as the proxy does before it asks.
 * Undefined where they say that it depends on what they are not told.
 */
function explained(
  snapshot: Snapshot,
  resources: readonly Resource[],
  call: OracleCall,
): readonly [string, ...string[]] | undefined {
  const facts = factsOf(call);
  const { http, token } = call;
  const { refusal, decisions, shadow, dependsOn } = explainCallee({
    snapshot,
    find: lookupIn(resources),
    arrival: {
      kind: "link",
      destination: `orders.shop:${call.port === 8080 ? 80 : 90}`,
    },
    peer: facts.peer,
    connection: facts.connection,
    sent: {
      method: http?.method ?? "CONNECT",
      authority: http?.host ?? "orders.shop:80",
      target: http?.path ?? "",
      fields: Object.entries(http?.headers ?? {}).flatMap(([name, lines]) =>
        [lines].flat().map((value) => ({ name, value })),
      ),
    },
    tunnel: http === undefined,
    claims: token,
    wall: 0,
  });
  const tried = findings(shadow);
  if (dependsOn.length > 0) return undefined;
  if (refusal === undefined) return ["allow", ...tried];
  if (refusal.code === "NOT_ALLOWED") return ["not allowed", ...tried];
  if (refusal.code === "PROVIDER_FAILED") return [refusal.code];
  const source = decisions.find(({ step }) => step === "authorization")?.source;
  const { resource = "", field = "" } = source ?? {};
  const rule = `${resource.slice(resource.indexOf("/") + 1)} rule ${field.replace(/\D/g, "")}`;
  return [`deny by ${rule}`, ...tried];
}

void t.test(`${PAIRS} pairs, WHERRY_ORACLE_SEED=${SEED}`, (t) => {
  const draw = seeded(SEED);
  const counts = new Map<string, number>();
  let wrong = 0;
  const differs = (what: string, details: unknown): void => {
    wrong += 1;
    if (wrong <= 5) t.fail(what, { details: JSON.stringify(details) });
  };
  for (let pair = 0; pair < PAIRS; pair += CALLS) {
    const drawn = randomMeshOf(draw);
    const policies = randomPolicies(draw);
    const [trustDomain = "", ...trustDomainAliases] = drawn.trustDomains;
    const resources: Resource[] = [
      mesh({
        trustDomain,
        ...(trustDomainAliases.length === 0 ? {} : { trustDomainAliases }),
        trustedHops: drawn.trustedHops,
        authorization: {
          defaultAction: drawn.defaultAction,
          providers: MESH_PROVIDERS,
        },
        mtls: { mode: "PERMISSIVE" },
        pathNormalization: "NONE",
      }),
      // Bytes may reach it, so that TCP is judged by AuthorizationPolicies; HTTP is judged there all the same.
      service("shop/orders", {
        ports: [
          { name: "a", port: 80, targetPort: 8080, appProtocol: "tcp" },
          { name: "b", port: 90, targetPort: 9000, appProtocol: "tcp" },
        ],
      }),
      TOKENS,
      ...policies.map(resourceOf),
    ];
    for (const resource of resources) {
      const checked = validate(resource);
      if (!checked.ok) differs("it is refused", { resource, checked });
    }
    const snapshot = compileSnapshot(
      resources,
      self({
        name: "orders-1",
        serviceAccount: "orders",
        labels: WORKLOAD.labels,
        identity: "spiffe://prod.example/ns/shop/sa/orders",
      }),
      VERSION,
    );
    for (let done = 0; done < CALLS; done += 1) {
      const call = randomCall(draw);
      const expected = oracle(policies, WORKLOAD, drawn, call);
      const tried = trials(policies, WORKLOAD, drawn, call);
      const asked = asks(policies, WORKLOAD, drawn, call);
      for (const kind of kindsOf(expected, tried, asked, call))
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
      const port = snapshot.inbound.byPort(call.port);
      if (port === undefined) throw new Error("no such port");
      const facts = factsOf(call);
      const verdict = port.authorize(facts);
      const trace = port.explain(facts);
      const fails = asked.some((each) => cannotBeAsked(each, call));
      const all = {
        proxy: expected,
        trace: expected,
        walk: expected,
        byMesh: isByMesh(expected, policies, drawn),
        trials: tried,
        asks: asked,
        callee: fails ? ["PROVIDER_FAILED"] : [expected, ...tried],
      };
      const found: typeof all = {
        proxy: said(verdict),
        trace: said(trace.verdict),
        walk: walked(trace.considered, drawn.defaultAction),
        byMesh: verdict.kind === "deny" && verdict.policy === MESH_NAME,
        trials: findings(port.shadow?.judge(facts, verdict) ?? []),
        asks: (port.custom?.matches(facts) ?? []).map(
          ({ provider, policy, rule }) => `${provider} by ${policy}[${rule}]`,
        ),
        callee: [...(explained(snapshot, resources, call) ?? ["open"])],
      };
      const isTold =
        call.source !== undefined && call.destination !== undefined;
      if (!isTold && found.callee[0] === "open") found.callee = all.callee;
      const hidden = explained(snapshot, resources, {
        ...call,
        ...{ source: undefined, destination: undefined },
      });
      counts.set("known", (counts.get("known") ?? 0) + (hidden ? 1 : 0));
      counts.set("open", (counts.get("open") ?? 0) + (hidden ? 0 : 1));
      if (
        hidden !== undefined &&
        isTold &&
        !isDeepStrictEqual(hidden, all.callee)
      )
        differs(`not told: ${JSON.stringify(hidden)}`, { all, policies, call });
      if (JSON.stringify(found) !== JSON.stringify(all))
        differs(`expected ${JSON.stringify(all)}, ${JSON.stringify(found)}`, {
          drawn,
          policies,
          call,
        });
    }
  }
  t.equal(wrong, 0, "all agree");
  for (const [share, kinds] of [
    [20, ["allow", "deny", "not", "token", "known", "open"]],
    [5000, ["refused", "admitted", "matched", ...PROVIDERS]],
  ] as const)
    for (const kind of kinds)
      t.ok(
        (counts.get(kind) ?? 0) > PAIRS / share,
        `${kind}: ${counts.get(kind)}`,
      );
  t.end();
});

/** What a pair is counted as. */
function kindsOf(
  expected: string,
  tried: readonly string[],
  asked: readonly string[],
  { token }: OracleCall,
): ReadonlySet<string> {
  return new Set([
    expected.split(" ")[0] ?? "",
    ...tried.map((each) => each.split(" ")[1] ?? ""),
    ...asked.map((each) => each.split(" ")[0] ?? ""),
    ...(token === undefined ? [] : ["token"]),
  ]);
}

/** No policy refuses it but the Mesh's default. */
function isByMesh(
  expected: string,
  policies: readonly OraclePolicy[],
  drawn: OracleMesh,
): boolean {
  return (
    expected === "not allowed" &&
    !actingOf(policies, WORKLOAD, drawn).some(
      ({ action, dryRun }) => action === "ALLOW" && dryRun !== true,
    )
  );
}

/** What the walk over the rules, as it is told, comes to. */
function walked(
  considered: ReturnType<
    NonNullable<ReturnType<Snapshot["inbound"]["byPort"]>>["explain"]
  >["considered"],
  defaultAction: "ALLOW" | "DENY",
): string {
  const last = considered.at(-1);
  if (last !== undefined && last.why === undefined)
    return last.action === "ALLOW"
      ? "allow"
      : `deny by ${last.policy} rule ${last.rule ?? -1}`;
  return considered.some(({ action }) => action === "ALLOW") ||
    defaultAction === "DENY"
    ? "not allowed"
    : "allow";
}

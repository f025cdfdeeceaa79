/** The proxy's verdict, its explanation and what `wherry test` asks, beside a slow and literal reading of Istio's reference. */
import t from "tap";
import { MESH_NAME } from "../../../src/resources/mesh/schema.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { AuthorizationPolicySpec } from "../../../src/resources/authorization-policy/spec.ts";
import { validate } from "../../../src/resources/validate.ts";
import type { Verdict } from "../../../src/policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../../src/policy/authorization/call.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import { explainCallee } from "../../../src/policy/explain/callee.ts";
import { lookupIn } from "../../../src/policy/explain/decision.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import {
  oracle,
  type OracleCall,
  type OraclePolicy,
} from "../../support/authorization/oracle.ts";
import {
  randomCall,
  randomMeshOf,
  randomPolicies,
} from "../../support/authorization/random-calls.ts";
import {
  authorizationPolicy,
  mesh,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";
import { seeded } from "../../support/resources/random-policy.ts";

/** Pairs of a policy set and a call; `WHERRY_ORACLE_PAIRS=200000` for the long form. */
const PAIRS = Number(process.env["WHERRY_ORACLE_PAIRS"] ?? 10_000);
const SEED = Number(process.env["WHERRY_ORACLE_SEED"] ?? Date.now() % 1e9);
const CALLS = 50;
const WORKLOAD = { namespace: "shop", labels: { app: "orders" } };

function resourceOf(policy: OraclePolicy): Resource {
  const { namespace, name, labels, action, dryRun, rules } = policy;
  const spec = {
    action,
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
      header: (name) => http.headers[name],
    },
  };
}

function said(verdict: Verdict): string {
  if (verdict.kind === "allow") return "allow";
  return verdict.code === "DENIED"
    ? `deny by ${verdict.policy} rule ${verdict.rule ?? -1}`
    : "not allowed";
}

/** What `explain` and `wherry test` find; they normalise the path themselves, as the proxy does before it asks. */
function explained(
  snapshot: Snapshot,
  resources: readonly Resource[],
  call: OracleCall,
): string {
  const facts = factsOf(call);
  const { http } = call;
  const { refusal, decisions } = explainCallee({
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
      fields: Object.entries(http?.headers ?? {}).map(([name, value]) => ({
        name,
        value,
      })),
    },
    tunnel: http === undefined,
  });
  if (refusal === undefined) return "allow";
  if (refusal.code === "NOT_ALLOWED") return "not allowed";
  const source = decisions.find(({ step }) => step === "authorization")?.source;
  return `${refusal.code} ${JSON.stringify(source)}`;
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
        authorization: { defaultAction: drawn.defaultAction },
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
    for (let asked = 0; asked < CALLS; asked += 1) {
      const call = randomCall(draw);
      const expected = oracle(policies, WORKLOAD, drawn, call);
      const kind = expected.split(" ")[0] ?? "";
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      const port = snapshot.inbound.byPort(call.port);
      if (port === undefined) throw new Error("no such port");
      const facts = factsOf(call);
      const verdict = port.authorize(facts);
      const trace = port.explain(facts);
      const found = {
        proxy: said(verdict),
        trace: said(trace.verdict),
        walk: walked(trace.considered, drawn.defaultAction),
        callee: explained(snapshot, resources, call),
      };
      const calleeExpected = expected.startsWith("deny by")
        ? /^DENIED .*/
        : new RegExp(`^${expected}$`);
      if (
        found.proxy !== expected ||
        found.trace !== expected ||
        found.walk !== expected ||
        !calleeExpected.test(found.callee) ||
        (verdict.kind === "deny" && verdict.policy === MESH_NAME) !==
          (expected === "not allowed" &&
            !trace.considered.some(({ action }) => action === "ALLOW"))
      )
        differs(`expected ${expected}, ${JSON.stringify(found)}`, {
          drawn,
          policies,
          call,
        });
    }
  }
  t.equal(wrong, 0, "all agree");
  for (const kind of ["allow", "deny", "not"])
    t.ok((counts.get(kind) ?? 0) > PAIRS / 20, `${kind}: ${counts.get(kind)}`);
  t.end();
});

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

/** What AuthorizationPolicies cost a request: sets of rules of mixed shapes, and such as are meant to be slow. */
import { atOnce } from "../../src/core/slices.ts";
import { compileAuthorization } from "../../src/policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../src/policy/authorization/call.ts";
import type {
  AuthorizationPolicyResource,
  AuthorizationRule,
} from "../../src/resources/authorization-policy/spec.ts";
import type { CostRow } from "./measure.ts";

type MakeRule = (index: number) => AuthorizationRule;

const to = (operation: object): AuthorizationRule => ({ to: [{ operation }] });
const from = (source: object): AuthorizationRule => ({ from: [{ source }] });

/** Rules as people write them; the last one has nothing that it could be found by but its method. */
const SHAPES: readonly MakeRule[] = [
  (n) => ({
    ...from({ principals: [`cluster.local/ns/shop/sa/app-${n % 50}`] }),
    ...to({ paths: [`/api/v1/items-${n}/*`] }),
  }),
  (n) => ({
    ...from({ namespaces: [`team-${n % 20}`] }),
    ...to({ methods: ["GET"], paths: [`/reports/${n}`] }),
  }),
  (n) => to({ paths: [`/shops/s${n}/{**}/basket`] }),
  (n) => to({ hosts: [`shop-${n}.example`], paths: ["*.json"] }),
  (n) => from({ serviceAccounts: [`ns-${n % 30}/account-${n}`] }),
  (n) => from({ ipBlocks: [`10.${n % 200}.${n % 250}.0/24`] }),
  (n) => ({ when: [{ key: "request.headers[x-team]", values: [`t${n}`] }] }),
  (n) => ({
    ...from({ principals: [`*/sa/job-${n}`], notNamespaces: ["far"] }),
    ...to({ ports: ["8080"] }),
  }),
  (n) => ({
    ...from({ notPrincipals: [`cluster.local/ns/x/sa/y-${n}`] }),
    ...to({ methods: ["DELETE"] }),
  }),
];

const mixed: MakeRule = (n) => SHAPES[n % SHAPES.length]?.(n) ?? {};

const ADVERSE: Readonly<Record<string, MakeRule>> = {
  "each path the beginning of the next": (n) =>
    to({ paths: [`/${"a".repeat(n % 1000)}*`], methods: ["PUT"] }),
  "each path the end of the next": (n) =>
    to({ paths: [`*${"a".repeat(n % 1000)}`], methods: ["PUT"] }),
  "each path *, each host *": () =>
    to({ paths: ["*"], hosts: ["*"], methods: ["PUT"] }),
  "nothing but exceptions": (n) =>
    to({ notPaths: ["/*"], notHosts: [`h${n}`] }),
};

/** An ALLOW and a DENY, of policies with ten rules each. */
function policies(
  count: number,
  make: MakeRule,
): readonly AuthorizationPolicyResource[] {
  return Array.from({ length: count / 10 }, (_policy, index) => ({
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { namespace: "shop", name: `p-${index}` },
    spec: {
      action: index % 2 === 0 ? "ALLOW" : "DENY",
      rules: Array.from({ length: 10 }, (_rule, each) =>
        make(index * 10 + each),
      ),
    },
  }));
}

/** Requests that no rule takes are asked of all of them, so most are of this kind; some are allowed by a rule. */
function requests(count: number): readonly AuthorizationFacts[] {
  return Array.from({ length: 64 }, (_, index) => ({
    peer: `spiffe://cluster.local/ns/shop/sa/app-${index % 50}`,
    port: 8080,
    connection: {
      remoteAddress: `10.250.0.${index}`,
      localAddress: "10.0.0.1",
    },
    request: {
      method: "GET",
      host: "shop.example",
      path:
        index % 4 === 0
          ? `/api/v1/items-${(index * 9) % count}/parts`
          : `/aaaaaaaaaaaaaaaa/${index}`,
      header: (name) => (name === "x-team" ? "none" : undefined),
      lines: (name) => (name === "x-team" ? "none" : undefined),
    },
  }));
}

function row(name: string, count: number, make: MakeRule): CostRow {
  return {
    name: `authorization, ${count} rules${name}`,
    open() {
      const authorizer = atOnce(
        compileAuthorization(
          policies(count, make),
          { namespace: "shop", labels: {} },
          { authorization: { defaultAction: "DENY" }, trustedHops: 0 },
        ),
      );
      const asked = requests(count);
      return (turn) => {
        const facts = asked[turn % asked.length];
        return facts && authorizer.authorize(facts);
      };
    },
  };
}

export const AUTHORIZATION: readonly CostRow[] = [
  ...[10, 100, 1000].map((count) => row("", count, mixed)),
  ...Object.entries(ADVERSE).map(([name, make]) =>
    row(`: ${name}`, 1000, make),
  ),
];

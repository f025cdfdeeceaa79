/** Policy sets and calls drawn from few values each, for the oracle: most draws have to do with each other. */
import { dice, type Draw } from "../resources/random-policy.ts";
import type {
  OracleCall,
  OracleMesh,
  OraclePolicy,
  OracleRule,
} from "./oracle.ts";
import type { OracleToken } from "./token-oracle.ts";

const DOMAINS = ["prod.example", "old.example", "far.example"];
const NAMESPACES = ["shop", "bank", "shop-2"];
const ACCOUNTS = ["web", "job", "web-2"];
const ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.1.0.1", "fd00::1", "fd00::2:1"];
const RANGES = [
  ...ADDRESSES,
  "10.0.0.0/30",
  "10.0.0.0/8",
  "0.0.0.0/0",
  "fd00::/64",
  "::/0",
];
const PATHS = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/a//c", "/a/", "/x.json"];
const TEMPLATES = [
  "/{*}",
  "/{**}",
  "/a/{*}",
  "/a/{**}",
  "/{*}/b",
  "/{**}/c",
  "/a/{*}/c",
  "/a/{**}/c",
  "/{*}/{**}/c",
];
const METHODS = ["GET", "POST", "PUT"];
const HOSTS = ["orders.shop", "shop.example", "a.shop.example"];
export const ISSUERS: readonly string[] = [
  "https://a.example",
  "https://b.example/x",
];
const SUBJECTS = ["alice", "bob", "alice/2"];
const AUDIENCES = ["shop", "bank", "shop-2"];
const CLIENTS = ["web", "job"];
const GROUPS = ["dev", "ops", "dev ops"];
const SCOPES = ["read", "write", "read write"];
/** The last one is no provider of the Mesh. */
export const PROVIDERS: readonly string[] = ["by-grpc", "by-http", "nobody"];
const WORDS = ["red", "blue", "redder", ""];

type Make = () => string;

/** What the rules of one policy set are drawn by. */
export function randomPolicies(draw: Draw): OraclePolicy[] {
  const { pick, chance, upTo } = dice(draw);
  const starred = (text: string): string => {
    const at = upTo(Math.max(0, text.length - 1));
    return pick([
      text,
      text,
      `${text.slice(0, at + 1)}*`,
      `*${text.slice(at)}`,
      "*",
    ]);
  };
  const list = (make: Make): string[] => [
    ...new Set(Array.from({ length: 1 + upTo(chance(0.05) ? 20 : 2) }, make)),
  ];
  const fields = (
    makes: Readonly<Record<string, Make>>,
  ): Record<string, string[]> => {
    const drawn: Record<string, string[]> = {};
    for (const [field, make] of Object.entries(makes)) {
      if (!chance(0.35)) continue;
      const not = `not${field.charAt(0).toUpperCase()}${field.slice(1)}`;
      if (chance(0.75)) drawn[field] = list(make);
      else drawn[not] = list(make);
      if (chance(0.1)) drawn[not] = list(make);
    }
    return drawn;
  };
  const principal = (): string =>
    starred(
      `${pick([...DOMAINS, "cluster.local"])}/ns/${pick(NAMESPACES)}/sa/${pick(ACCOUNTS)}`,
    );
  const account = (): string =>
    pick([pick(ACCOUNTS), `${pick(NAMESPACES)}/${pick(ACCOUNTS)}`]);
  const range = (): string => pick(RANGES);
  const requester = (): string => starred(`${pick(ISSUERS)}/${pick(SUBJECTS)}`);
  const source = (): Record<string, string[]> => {
    const drawn = fields(
      chance(0.25)
        ? {
            serviceAccounts: account,
            ipBlocks: range,
            requestPrincipals: requester,
          }
        : {
            ...(chance(0.3) ? { requestPrincipals: requester } : {}),
            principals: principal,
            namespaces: () => starred(pick(NAMESPACES)),
            trustDomains: () => starred(pick(DOMAINS)),
            ipBlocks: range,
            remoteIpBlocks: range,
          },
    );
    return Object.keys(drawn).length === 0 ? { ipBlocks: list(range) } : drawn;
  };
  const port = (): string => pick(["8080", "9000"]);
  const operation = (): Record<string, string[]> => {
    const drawn = fields({
      methods: () => pick([...METHODS, "P*", "*T", "*"]),
      hosts: () => pick([starred(pick(HOSTS)), pick(HOSTS).toUpperCase()]),
      paths: () => pick([starred(pick(PATHS)), pick(TEMPLATES)]),
      ports: port,
    });
    return Object.keys(drawn).length === 0 ? { ports: list(port) } : drawn;
  };
  const condition = (): NonNullable<OracleRule["when"]>[number] => {
    const [key, make] = pick<readonly [string, Make]>([
      ["request.headers[X-Team]", () => starred(pick(WORDS)) || "*"],
      ["source.ip", range],
      ["remote.ip", range],
      ["destination.ip", range],
      ["source.namespace", () => starred(pick(NAMESPACES))],
      ["source.principal", principal],
      ["source.serviceAccount", account],
      ["source.trustDomain", () => starred(pick(DOMAINS))],
      ["destination.port", port],
      ["connection.sni", () => starred(pick(HOSTS))],
      ["request.auth.principal", requester],
      ["request.auth.audiences", () => starred(pick(AUDIENCES))],
      ["request.auth.presenter", () => starred(pick(CLIENTS))],
      ["request.auth.claims[groups]", () => starred(pick(GROUPS))],
      ["request.auth.claims[scope]", () => starred(pick(SCOPES))],
      ["request.auth.claims[realm][roles]", () => starred(pick(GROUPS))],
    ]);
    const values = chance(0.7) ? { values: list(make) } : undefined;
    return {
      key,
      ...values,
      ...(values === undefined || chance(0.2) ? { notValues: list(make) } : {}),
    };
  };
  const times = <T>(most: number, make: () => T): T[] =>
    Array.from({ length: 1 + upTo(most) }, make);
  const rule = (): OracleRule => {
    // One condition alone decides more calls than several together.
    if (chance(0.25)) return { when: [condition()] };
    return several();
  };
  const several = (): OracleRule => ({
    ...(chance(0.6) ? { from: times(1, () => ({ source: source() })) } : {}),
    ...(chance(0.6)
      ? { to: times(1, () => ({ operation: operation() })) }
      : {}),
    ...(chance(0.4) ? { when: times(1, condition) } : {}),
  });
  return Array.from({ length: upTo(6) }, (_policy, index) => {
    const asks = chance(0.08);
    return {
      namespace: pick(["shop", "shop", "wherry-system", "bank"]),
      name: `p-${index}`,
      labels: chance(0.3) ? { app: pick(["orders", "other"]) } : undefined,
      action: asks
        ? "CUSTOM"
        : pick(["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"]),
      provider: asks ? pick(PROVIDERS) : undefined,
      dryRun: !asks && chance(0.25),
      rules:
        !asks && chance(0.1) ? undefined : times(chance(0.1) ? 30 : 3, rule),
    };
  });
}

export function randomMeshOf(draw: Draw): OracleMesh {
  const { pick, chance } = dice(draw);
  return {
    rootNamespace: "wherry-system",
    trustDomains: chance(0.5)
      ? ["prod.example", "old.example"]
      : ["prod.example"],
    trustedHops: pick([0, 0, 1, 2]),
    defaultAction: chance(0.7) ? "ALLOW" : "DENY",
  };
}

export function randomCall(draw: Draw): OracleCall {
  const { pick, chance, some } = dice(draw);
  const headers: Record<string, string | readonly string[]> = {};
  if (chance(0.6))
    headers["x-team"] = pick<Make | (() => readonly string[])>([
      () => pick(WORDS),
      () => `${pick(WORDS)}, ${pick(WORDS)}`,
      () => [pick(WORDS), pick(WORDS)],
    ])();
  if (chance(0.5))
    headers["x-forwarded-for"] = [
      pick(ADDRESSES),
      ...some(2, () => pick([...ADDRESSES, "unknown"])),
    ].join(", ");
  return {
    peer: chance(0.8)
      ? {
          domain: pick(DOMAINS),
          namespace: pick(NAMESPACES),
          account: pick(ACCOUNTS),
        }
      : undefined,
    port: pick([8080, 9000]),
    source: chance(0.9) ? pick(ADDRESSES) : undefined,
    destination: chance(0.9) ? pick(ADDRESSES) : undefined,
    sni: chance(0.5) ? pick(HOSTS) : undefined,
    ...(chance(0.75)
      ? {
          http: {
            ...{ method: pick(METHODS), host: pick(HOSTS), path: pick(PATHS) },
            headers,
          },
          token: chance(0.6) ? randomToken(draw) : undefined,
        }
      : { http: undefined, token: undefined }),
  };
}

/** A verified one has an issuer. The rest may be missing, or of a type that no policy can ask for. */
function randomToken(draw: Draw): OracleToken {
  const { pick, chance, some } = dice(draw);
  const claims: Record<string, unknown> = { iss: pick(ISSUERS) };
  const put = (name: string, make: () => unknown): void => {
    if (chance(0.75)) claims[name] = make();
  };
  const texts = (from: readonly string[]): unknown =>
    chance(0.1)
      ? pick([7, true, null, "", ["", 7]])
      : chance(0.5)
        ? pick(from)
        : some(2, () => pick(from));
  put("sub", () => (chance(0.1) ? "" : pick(SUBJECTS)));
  put("aud", () => texts(AUDIENCES));
  put("azp", () => texts(CLIENTS));
  put("groups", () => texts(GROUPS));
  put("scope", () => texts(SCOPES));
  put("realm", () => (chance(0.8) ? { roles: texts(GROUPS) } : texts(GROUPS)));
  return claims;
}

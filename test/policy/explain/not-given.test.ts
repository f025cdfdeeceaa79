/** What a question leaves out of a call: which rules are open by it, and what that may change. */
import t from "tap";
import {
  authorizationPolicy,
  mesh,
  service,
} from "../../support/resources/policy-fixtures.ts";
import {
  BYTES,
  callee,
  ORDERS,
  passed,
  step,
} from "../../support/resources/asked-call.ts";
import type { Resource } from "../../../src/resources/envelope.ts";

type Question = Parameters<typeof callee>[1];

const MESH = mesh({
  mtls: { mode: "PERMISSIVE" },
  authorization: {
    defaultAction: "ALLOW",
    providers: [{ name: "opa", http: { address: "127.0.0.1:1" } }],
  },
});
const TLS = [
  MESH,
  service("shop/orders", {
    ports: [{ name: "http", port: 80, targetPort: 8080, appProtocol: "tls" }],
  }),
  ...ORDERS.slice(1),
];
const RAW = [MESH, ...BYTES];
const HTTP = [MESH, ...ORDERS];
const PLAIN: Question = {
  arrival: { kind: "plaintext", port: 8080 },
  peer: undefined,
};

function policy(action: string, rule: object, name = "shop/p"): Resource {
  return authorizationPolicy(name, {
    action: action as "DENY",
    ...(action === "CUSTOM" ? { provider: { name: "opa" } } : {}),
    rules: [rule],
  });
}

const bySni = { when: [{ key: "connection.sni", values: ["a.example"] }] };
const byAddress = { from: [{ source: { ipBlocks: ["10.0.0.0/8"] } }] };
const notByAddress = { from: [{ source: { notIpBlocks: ["10.0.0.0/8"] } }] };
const both = {
  ...byAddress,
  to: [{ operation: { paths: ["/admin"] } }],
};
const nowhere = { remoteAddress: undefined, localAddress: "10.0.0.1" };
const at = (serverName?: string): Question => ({
  ...PLAIN,
  tunnel: true,
  connection: { ...nowhere, remoteAddress: "10.0.0.2", serverName },
});

/** What is asked, what becomes of it, and the rules that are open: "ACTION ATTRIBUTES changes WHAT". */
const ROWS: readonly (readonly [
  what: string,
  resources: readonly Resource[],
  question: Question,
  expected: string | undefined,
  ...open: string[],
])[] = [
  [
    "TLS in plaintext, whose name nobody has said",
    [...TLS, policy("DENY", bySni)],
    at(),
    undefined,
    "DENY connection.sni changes allowed",
  ],
  [
    "TLS that names no host",
    [...TLS, policy("DENY", bySni)],
    at(""),
    undefined,
  ],
  [
    "TLS that names it",
    [...TLS, policy("DENY", bySni)],
    at("a.example"),
    "DENIED",
  ],
  [
    "a name is not read on a port that is not for TLS",
    [...RAW, policy("DENY", bySni)],
    at("a.example"),
    undefined,
  ],
  [
    "the link of a sidecar names no host",
    [...RAW, policy("DENY", bySni)],
    { tunnel: true },
    undefined,
  ],
  [
    "in plaintext nothing is read as HTTP on a port for bytes",
    [...RAW, policy("ALLOW", { to: [{ operation: { methods: ["GET"] } }] })],
    PLAIN,
    "NOT_ALLOWED",
  ],
  [
    "a DENY by address",
    [...HTTP, policy("DENY", byAddress)],
    { connection: nowhere },
    undefined,
    "DENY source.ip changes allowed",
  ],
  [
    "an ALLOW by address",
    [...HTTP, policy("ALLOW", byAddress)],
    { connection: nowhere },
    "NOT_ALLOWED",
    "ALLOW source.ip changes allowed",
  ],
  [
    "what is left out is as open",
    [...HTTP, policy("ALLOW", notByAddress)],
    { connection: nowhere },
    "NOT_ALLOWED",
    "ALLOW source.ip changes allowed",
  ],
  [
    "another field decides alone",
    [...HTTP, policy("DENY", both)],
    { connection: nowhere },
    undefined,
  ],
  [
    "another policy refuses it in any case",
    [...HTTP, policy("DENY", byAddress), policy("DENY", {}, "shop/q")],
    { connection: nowhere },
    "DENIED",
    "DENY source.ip changes by",
  ],
  [
    "another policy allows it in any case",
    [...HTTP, policy("ALLOW", byAddress), policy("ALLOW", {}, "shop/q")],
    { connection: nowhere },
    undefined,
    "ALLOW source.ip changes by",
  ],
  [
    "a provider that may be asked",
    [...HTTP, policy("CUSTOM", byAddress)],
    { connection: nowhere },
    undefined,
    "CUSTOM source.ip changes provider",
  ],
  [
    "a provider that cannot be asked about bytes",
    [...RAW, policy("CUSTOM", byAddress)],
    { connection: nowhere, tunnel: true },
    undefined,
    "CUSTOM source.ip changes allowed",
  ],
  [
    "a header that the sidecar writes of the address",
    [
      ...HTTP,
      policy("DENY", {
        when: [{ key: "request.headers[X-Forwarded-For]", values: ["10.*"] }],
      }),
    ],
    { ...PLAIN, connection: nowhere },
    undefined,
    "DENY header X-Forwarded-For changes allowed",
  ],
];

for (const [what, resources, question, expected, ...open] of ROWS)
  void t.test(what, (t) => {
    const { refusal, dependsOn, decisions } = callee(resources, question);
    t.equal(refusal?.code, expected);
    t.strictSame(
      dependsOn.map(
        ({ action, on, changes }) =>
          `${action} ${on.join(" ")} changes ${changes}`,
      ),
      open,
    );
    const said = decisions
      .flatMap(({ notMatched }) => notMatched)
      .filter((each) => each.dependsOn !== undefined);
    t.equal(said.length, open.length, "each is among what did not match");
    for (const { why } of said) t.match(why, /depends on .*not given/);
    t.end();
  });

void t.test("claims that nothing reads are said to be", (t) => {
  const claims = { iss: "https://idp.example.com" };
  const said = (resources: readonly Resource[], question: Question): string =>
    step(callee(resources, { claims, ...question }), "token").outcome;
  t.match(said(HTTP, {}), /no RequestAuthentication acts here: the claims/);
  t.match(said(RAW, { tunnel: true }), /bytes have no token: the claims/);
  t.strictSame(passed(step(callee(HTTP, {}), "authorization")), []);
  t.end();
});

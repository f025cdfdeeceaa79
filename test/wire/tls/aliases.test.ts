/** Trust domain aliases at both ends of the link: whose certificate passes, and that none does without a trusted root. */
import t from "tap";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { connecting, failureOf, testLink } from "../../support/peers/link.ts";

const EQUAL = ["cluster.local", "old.example"];
const mesh = fakeAuthority();
const impostor = fakeAuthority({ trustDomain: "old.example" });
const of = (domain: string, account: string, namespace = "shop"): Credentials =>
  mesh.credentials(account, {
    id: `spiffe://${domain}/ns/${namespace}/sa/${account}`,
  });
const web = of("cluster.local", "web");
const orders = of("cluster.local", "orders");
const oldWeb = of("old.example", "web");

/** What the caller sees, or that the callee refuses it after that. */
type End = "passes" | "foreign trust domain" | "WRONG_IDENTITY" | "TLS_FAILED";

/** A caller, a callee, the equal domains, and what becomes of the connection. */
const ROWS: readonly (readonly [
  string,
  Credentials,
  Credentials,
  readonly string[],
  End,
])[] = [
  ["both of the own", web, orders, EQUAL, "passes"],
  ["a caller of an alias", oldWeb, orders, EQUAL, "passes"],
  ["a callee of an alias", web, of("old.example", "orders"), EQUAL, "passes"],
  ["both of it", oldWeb, of("old.example", "orders"), EQUAL, "passes"],
  [
    "a caller of another domain",
    of("other.example", "web"),
    orders,
    EQUAL,
    "foreign trust domain",
  ],
  [
    "a caller of what was an alias",
    oldWeb,
    orders,
    ["cluster.local"],
    "foreign trust domain",
  ],
  ["none are equal", oldWeb, orders, [], "foreign trust domain"],
  [
    "a callee of another domain",
    web,
    of("other.example", "orders"),
    EQUAL,
    "WRONG_IDENTITY",
  ],
  [
    "a callee of what was an alias",
    web,
    of("old.example", "orders"),
    [],
    "WRONG_IDENTITY",
  ],
  [
    "another account",
    web,
    of("old.example", "payments"),
    EQUAL,
    "WRONG_IDENTITY",
  ],
  [
    "another namespace",
    web,
    of("old.example", "orders", "far"),
    EQUAL,
    "WRONG_IDENTITY",
  ],
  [
    "a callee of an alias whose root nobody trusts",
    web,
    impostor.credentials("orders"),
    EQUAL,
    "TLS_FAILED",
  ],
];

for (const [what, caller, callee, equalDomains, end] of ROWS)
  void t.test(`${what}: ${end}`, async (t) => {
    const link = await testLink(callee, { equalDomains });
    t.teardown(() => link.close());
    const dialled = connectLink(
      connecting(caller, orders)(link.port, { equalDomains }),
    );
    if (end === "WRONG_IDENTITY" || end === "TLS_FAILED") {
      t.equal((await failureOf(dialled)).code, end);
      t.equal(link.received(), 0);
      return;
    }
    const { socket } = await dialled;
    t.teardown(() => socket.destroy());
    await link.settled(1);
    t.strictSame(
      link.refused.map(({ reason }) => reason),
      end === "passes" ? [] : [end],
    );
  });

void t.test("a caller of an alias whose root nobody trusts", async (t) => {
  const link = await testLink(orders, { equalDomains: EQUAL });
  t.teardown(() => link.close());
  // It trusts the callee, which does not trust it.
  const caller = {
    ...impostor.credentials("web"),
    trustBundle: mesh.bundle,
  };
  const { socket } = await connectLink(
    connecting(caller, orders)(link.port, { equalDomains: EQUAL }),
  );
  t.teardown(() => socket.destroy());
  await link.settled(1);
  t.strictSame(
    link.refused.map(({ reason }) => reason),
    ["untrusted issuer"],
  );
});

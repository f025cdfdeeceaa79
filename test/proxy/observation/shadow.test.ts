/** Policies that change no verdict, at real sidecars: what is served is the same, and what they would have done is told. */
import t from "tap";
import { resource, withPair, type Pair } from "../../support/meshes/pair.ts";

type Resource = ReturnType<typeof resource>;

const SELECTOR = { matchLabels: { app: "orders" } };
const DRY = { annotations: { "istio.io/dry-run": "true" } };

function policy(name: string, spec: object, metadata = {}): Resource {
  return resource(
    "AuthorizationPolicy",
    name,
    { selector: SELECTOR, ...spec },
    metadata,
  );
}

const to = (operation: object): object => ({ to: [{ operation }] });

/** Policies, the call, its status, and the counts by policy and effect. */
const TABLE: readonly (readonly [
  string,
  readonly Resource[],
  { readonly method?: string; readonly path?: string },
  number,
  Readonly<Record<string, string>>,
])[] = [
  [
    "an ALLOW on trial closes nothing",
    [policy("a", { rules: [to({ methods: ["POST"] })] }, DRY)],
    {},
    200,
    { "shop/a": "refused" },
  ],
  [
    "an ALLOW on trial lets nobody in",
    [policy("closed", {}), policy("a", { rules: [{}] }, DRY)],
    {},
    403,
    { "shop/a": "admitted" },
  ],
  [
    "a DENY on trial refuses nothing",
    [policy("d", { action: "DENY", rules: [to({ paths: ["/x*"] })] }, DRY)],
    { path: "/x/y?secret=1" },
    200,
    { "shop/d": "refused" },
  ],
  [
    "an AUDIT matches, and a DENY refuses as before",
    [
      policy("no", { action: "DENY", rules: [{}] }),
      policy("log", { action: "AUDIT", rules: [{}] }),
    ],
    {},
    403,
    { "shop/log": "matched" },
  ],
  [
    "a policy that would change nothing is not told",
    [
      policy("a", { rules: [{}] }, DRY),
      policy("log", { action: "AUDIT", rules: [to({ methods: ["PUT"] })] }),
    ],
    {},
    200,
    {},
  ],
];

async function counted(pair: Pair): Promise<number> {
  return pair.metric(pair.callee, "wherry_authorization_shadow_total");
}

for (const [title, resources, call, status, effects] of TABLE)
  void t.test(title, async (t) => {
    await withPair({ resources: [...resources] }, async (pair) => {
      t.equal((await pair.call(call)).status, status);
      for (const [name, effect] of Object.entries(effects))
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_authorization_shadow_total",
            `policy="${name}"`,
            `effect="${effect}"`,
          ),
          1,
          `${name} ${effect}`,
        );
      if (Object.keys(effects).length === 0) t.equal(await counted(pair), 0);
      const shadow = pair.spans
        .map(({ attributes }) => attributes["wherry.shadow"])
        .filter((each) => each !== undefined);
      t.strictSame(
        shadow,
        Object.entries(effects).map(([name, effect]) => `${name}: ${effect}`),
        "the span says it",
      );
    });
  });

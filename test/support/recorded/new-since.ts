/** Kinds and values that the recorded version does not know. */
type Spec = Readonly<Record<string, unknown>>;

const DRY_RUN = { annotations: { "istio.io/dry-run": "true" } };
const DENY_ALL: Spec = {
  selector: { matchLabels: { app: "orders" } },
  action: "DENY",
  rules: [{}],
};

/** What is new since the recorded version, of kinds and values: what `wherry status` says of each. */
export const NEW: readonly (readonly [
  kind: string,
  name: string,
  spec: Spec,
  said: string,
  metadata?: Readonly<Record<string, unknown>>,
])[] = [
  [
    "AuthorizationPolicy",
    "audit",
    { ...DENY_ALL, action: "AUDIT" },
    "spec.action nothing",
  ],
  [
    "AuthorizationPolicy",
    "trial",
    DENY_ALL,
    "metadata.annotations.istio.io/dry-run nothing",
    DRY_RUN,
  ],
  [
    "AuthorizationPolicy",
    "ask",
    {
      selector: { matchLabels: { app: "web" } },
      action: "CUSTOM",
      provider: { name: "opa" },
      rules: [{}],
    },
    "spec.action,spec.provider closed",
  ],
  [
    "RequestAuthentication",
    "tokens",
    {
      selector: { matchLabels: { app: "orders" } },
      jwtRules: [{ issuer: "https://idp.example", jwks: '{"keys":[]}' }],
    },
    " nothing",
  ],
  ["Revocation", "gone", { instance: "shop/gone-1" }, " nothing"],
];

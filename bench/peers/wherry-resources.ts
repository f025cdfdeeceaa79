/** What Envoy's configuration says, in our kinds. */
import { TRUST_DOMAIN } from "../certificates.ts";
import {
  INBOUND_PORT,
  SERVER_PORT,
  isCalls,
  type PeerSettings,
  type Speech,
} from "../peer.ts";
import { AUDIENCE, benchToken, ISSUER } from "../token.ts";

const OWN = "mesh.wherry.dev/v1alpha1";
const APP_PROTOCOLS: Readonly<Record<Speech, string>> = {
  "http/1.1": "http",
  websocket: "http",
  h2: "http2",
  grpc: "grpc",
  tcp: "tcp",
};

export function resourcesOf(
  settings: Pick<PeerSettings, "apps" | "tracing" | "token">,
  workload: "declared" | "registered",
): object[] {
  return [
    {
      apiVersion: OWN,
      kind: "Mesh",
      metadata: { name: "default" },
      spec: {
        trustDomain: TRUST_DOMAIN,
        authorization: { defaultAction: "ALLOW" },
        defaults: { tracing: { randomSamplingPercentage: settings.tracing } },
      },
    },
    {
      apiVersion: OWN,
      kind: "Service",
      metadata: { name: "callee", namespace: "bench" },
      spec: {
        ports: [
          {
            name: "http",
            port: 80,
            targetPort: SERVER_PORT,
            appProtocol: APP_PROTOCOLS[settings.apps],
          },
        ],
        selector: { app: "callee" },
      },
    },
    // In a mesh the sidecar registers its own.
    ...(workload === "declared" ? [declaredWorkload()] : []),
    // Bytes have no route.
    ...(settings.apps === "tcp" ? [] : [route(settings.apps)]),
    ...(settings.token === true ? [tokens()] : []),
    {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { name: "callers", namespace: "bench" },
      spec: {
        selector: { matchLabels: { app: "callee" } },
        action: "ALLOW",
        rules: [
          {
            from: [
              {
                source: { principals: [`${TRUST_DOMAIN}/ns/bench/sa/caller`] },
              },
            ],
            // Nor a path.
            ...(settings.apps === "tcp"
              ? {}
              : { to: [{ operation: { paths: ["/*"] } }] }),
          },
        ],
      },
    },
  ];
}

function route(apps: Speech): object {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: "callee", namespace: "bench" },
    spec: {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "callee" },
      ],
      rules: [
        {
          backendRefs: [{ name: "callee", port: 80 }],
          // Messages come for as long as the measurement lasts.
          ...(isCalls(apps) ? { timeouts: { backendRequest: "2s" } } : {}),
          retry: { codes: [500, 502, 503, 504], attempts: 2 },
        },
      ],
    },
  };
}

function tokens(): object {
  const { jwks } = benchToken();
  return {
    apiVersion: "security.istio.io/v1",
    kind: "RequestAuthentication",
    metadata: { name: "tokens", namespace: "bench" },
    spec: {
      selector: { matchLabels: { app: "callee" } },
      jwtRules: [{ issuer: ISSUER, audiences: [AUDIENCE], jwks }],
    },
  };
}

function declaredWorkload(): object {
  return {
    apiVersion: OWN,
    kind: "Workload",
    metadata: {
      name: "callee-1",
      namespace: "bench",
      labels: { app: "callee" },
    },
    spec: {
      address: "127.0.0.1",
      ports: { http: SERVER_PORT },
      link: { port: INBOUND_PORT },
      serviceAccount: "callee",
    },
  };
}

/** What is in force while strangers knock: routes by path, field and query, and an AuthorizationPolicy by method, path and host; and the slow, literal reading of it. */
import type { Resource } from "../../../src/resources/envelope.ts";
import { resource } from "../meshes/pair.ts";
import type { AppPorts } from "./target/target-process.ts";

/** Every name of the Service with the routes, as its own namespace may call it. */
export const ROUTED_HOSTS: readonly string[] = namesOf("orders");
/** Names that lead to the callee; all others are unknown to the mesh. */
export const HOSTS: readonly string[] = [
  ...ROUTED_HOSTS,
  ...["admin", "open", "canary"].flatMap(namesOf),
];

function namesOf(service: string): string[] {
  return ["", ".shop", ".shop.svc", ".shop.svc.cluster.local"].map(
    (rest) => service + rest,
  );
}

const SELECTED = { selector: { matchLabels: { app: "orders" } } };

export function resourcesOf(
  appPorts: AppPorts,
  linkPort: number,
  appProtocol: "http" | "http2",
): Resource[] {
  const service = (name: string, port: string): Resource =>
    resource("Service", name, {
      ports: [{ name: port, port: 80, appProtocol }],
      selector: { app: "orders" },
    });
  // Not the open one: a tunnel to a port whose DENY rules ask for HTTP is denied for that alone.
  const ports = [appPorts.http, appPorts.canary, appPorts.admin].map(String);
  return [
    resource("Mesh", "default", {
      authorization: { defaultAction: "ALLOW" },
      outboundTrafficPolicy: "REGISTRY_ONLY",
    }),
    service("orders", "http"),
    service("admin", "admin"),
    service("canary", "canary"),
    service("open", "open"),
    resource(
      "Workload",
      "orders-1",
      {
        address: "127.0.0.1",
        ports: appPorts,
        serviceAccount: "orders",
        link: { port: linkPort },
      },
      { labels: { app: "orders" } },
    ),
    resource("PeerAuthentication", "open", {
      ...SELECTED,
      mtls: { mode: "PERMISSIVE" },
    }),
    resource("TrafficPolicy", "orders", {
      targetRefs: [{ kind: "Service", name: "orders" }],
      circuitBreaker: { volumeThreshold: 1_000_000 },
    }),
    resource("AuthorizationPolicy", "deny", {
      ...SELECTED,
      action: "DENY",
      rules: [
        { methods: ["DELETE", "PURGE"] },
        { paths: ["/admin", "/admin/*"] },
        { hosts: ["admin.shop"] },
        { methods: ["PUT"], paths: ["/caf%C3%A9*"] },
      ].map((operation) => ({ to: [{ operation: { ...operation, ports } }] })),
    }),
    resource("HTTPRoute", "orders", {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
      ],
      rules: [
        {
          matches: [
            { path: { type: "PathPrefix", value: "/v2" } },
            { headers: [{ name: "x-canary", value: "yes" }] },
            { queryParams: [{ name: "beta", value: "1" }] },
          ],
          backendRefs: [
            {
              group: "mesh.wherry.dev",
              kind: "Service",
              name: "canary",
              port: 80,
            },
          ],
        },
        {
          backendRefs: [
            {
              group: "mesh.wherry.dev",
              kind: "Service",
              name: "orders",
              port: 80,
            },
          ],
        },
      ],
    }),
  ];
}

/** A request as an application read it from its socket. */
export interface Arrived {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  /** By lower-case name, in their order. */
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/**
 * Which rule of the DENY policy should have stopped this, read as a trusting application would: methods in any case, hosts without
 * their dots, escapes decoded, slashes merged.
 */
export function deniedBy({
  method,
  target,
  host,
}: Arrived): string | undefined {
  const upper = method.toUpperCase();
  if (upper === "DELETE" || upper === "PURGE") return `method ${method}`;
  if (upper === "CONNECT") return "a tunnel to a port for HTTP";
  const name = host
    .toLowerCase()
    .replace(/:\d*$/, "")
    .split(".")
    .filter((label) => label !== "")
    .join(".");
  if (name === "admin.shop") return `host ${host}`;
  const path = literalPath(target);
  if (path === "/admin" || path.startsWith("/admin/")) return `path ${target}`;
  if (upper === "PUT" && path.startsWith("/caf\xc3\xa9"))
    return `PUT of ${target}`;
  return undefined;
}

/** Whether the route sends it to the canary. */
export function goesToCanary({ target, fields }: Arrived): boolean {
  const path = literalPath(target);
  if (path === "/v2" || path.startsWith("/v2/")) return true;
  const said = fields
    .filter(([name]) => name === "x-canary")
    .map(([, value]) => value);
  if (said.length > 0 && said.join(", ") === "yes") return true;
  const mark = target.indexOf("?");
  if (mark === -1) return false;
  const first = target
    .slice(mark + 1)
    .split("&")
    .map(decoded)
    .find((pair) => pair === "beta" || pair.startsWith("beta="));
  return first === "beta=1";
}

/** The path as most applications read it: decoded once, but for slashes, then merged and without dots. */
function literalPath(target: string): string {
  const [path = ""] = target.split("?", 1);
  const kept: string[] = [];
  const segments = decoded(path).split("/").slice(1);
  segments.forEach((segment, index) => {
    const last = index === segments.length - 1;
    if (segment === "..") kept.pop();
    else if (segment !== "." && (segment !== "" || last)) kept.push(segment);
    if (last && (segment === "." || segment === "..")) kept.push("");
  });
  return `/${kept.join("/")}`;
}

function decoded(text: string): string {
  return text.replaceAll(/%([0-9a-fA-F]{2})/g, (escape, hex: string) => {
    const code = Number.parseInt(hex, 16);
    return code === 0x2f || code === 0x5c ? escape : String.fromCharCode(code);
  });
}

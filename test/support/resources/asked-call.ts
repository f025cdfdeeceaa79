/** Asks for explanations of a call of shop/web to shop/orders. */
import { explainCallee } from "../../../src/policy/explain/callee.ts";
import {
  explainCaller,
  type CallerAnswer,
} from "../../../src/policy/explain/caller.ts";
import {
  lookupIn,
  type Decision,
  type Step,
} from "../../../src/policy/explain/decision.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  self,
  service,
  VERSION,
  workload,
  CONNECTION,
} from "./policy-fixtures.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
export const ORDERS: readonly Resource[] = [
  service("shop/orders"),
  workload("shop/orders-1", "orders", { serviceAccount: "orders" }),
];

/** The same Service, whose port is for bytes. */
export const BYTES: readonly Resource[] = [
  service("shop/orders", {
    ports: [{ name: "http", port: 80, targetPort: 8080, appProtocol: "tcp" }],
  }),
  ...ORDERS.slice(1),
];

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly host?: string;
  readonly draw?: number;
  readonly tunnel?: boolean;
}

export function caller(
  resources: readonly Resource[],
  asked: Asked = {},
): CallerAnswer {
  const { method = "GET", path = "/", headers = {}, draw } = asked;
  const host = asked.host ?? "orders.shop";
  const snapshot = compileSnapshot(resources, self(), VERSION);
  const destination = snapshot.destination(host, undefined);
  return explainCaller({
    snapshot,
    find: lookupIn(resources),
    where:
      destination === undefined
        ? { kind: "outside", host, port: 80 }
        : { kind: "mesh", destination },
    head: {
      method,
      path,
      scheme: "http",
      authority: host,
      fields: Object.entries(headers).map(([name, value]) => ({
        name,
        value,
      })),
    },
    tunnel: asked.tunnel ?? false,
    draw,
    wall: NOW,
  });
}

export function callee(
  resources: readonly Resource[],
  over: Partial<Parameters<typeof explainCallee>[0]> = {},
): ReturnType<typeof explainCallee> {
  return explainCallee({
    snapshot: compileSnapshot(
      resources,
      self({
        name: "orders-1",
        serviceAccount: "orders",
        labels: { app: "orders" },
      }),
      VERSION,
    ),
    find: lookupIn(resources),
    arrival: { kind: "link", destination: "orders.shop:80" },
    peer: "spiffe://cluster.local/ns/shop/sa/web",
    connection: CONNECTION,
    sent: { method: "GET", authority: "orders.shop", target: "/", fields: [] },
    tunnel: false,
    wall: NOW,
    ...over,
  });
}

export function step(
  { decisions }: { readonly decisions: readonly Decision[] },
  wanted: Step,
): Decision {
  const found = decisions.find((each) => each.step === wanted);
  if (found === undefined) throw new Error(`no step ${wanted}`);
  return found;
}

/** "orders spec.rules[0]: why" of each. */
export function passed(decision: Decision): string[] {
  return decision.notMatched.map(
    ({ source, why }) =>
      `${source.resource.split("/").at(-1) ?? ""}${source.field?.replace("spec", "") ?? ""}: ${why}`,
  );
}

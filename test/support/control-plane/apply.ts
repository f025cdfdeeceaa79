/** Lists of resources for the tests of POST /apply, and what its answers say. */
import {
  route as routeIn,
  service as serviceIn,
  type Answer,
  type Rig,
} from "./api.ts";

export type Body = Record<string, unknown>;

export const into = (namespace: string, resource: Body): Body => ({
  ...resource,
  metadata: { ...(resource["metadata"] as object), namespace },
});

export const service = (
  place: string,
  more: Record<string, unknown> = {},
  spec: Record<string, unknown> = {},
): Body => {
  const [namespace = "", name = ""] = place.split("/");
  return into(namespace, serviceIn(name, more, spec));
};

/** In `namespace`, to the port of a Service. */
export const route = (namespace: string, to: string, port = 80): Body => {
  const [home = "", name = ""] = to.split("/");
  const made = into(namespace, routeIn("r", name, port)) as {
    spec: { parentRefs: Body[]; rules: { backendRefs: Body[] }[] };
  };
  for (const ref of [
    ...made.spec.parentRefs,
    ...made.spec.rules.flatMap(({ backendRefs }) => backendRefs),
  ])
    ref["namespace"] = home;
  for (const ref of made.spec.parentRefs) delete ref["port"];
  return made;
};

export const workload = (place: string, address: string): Body => {
  const [namespace = "", name = ""] = place.split("/");
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: { name, namespace },
    spec: { address, ports: { http: 8080 }, serviceAccount: name },
  };
};

export const MESH: Body = {
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Mesh",
  metadata: { name: "default" },
  spec: { authorization: { defaultAction: "ALLOW" } },
};

export const BROKEN: Body = service("bad/broken", {}, { colour: "blue" });

export function apply(
  { call }: Rig,
  items: readonly unknown[],
  query = "",
  headers: Record<string, string> = {},
): Promise<Answer> {
  return call("POST", `/apply${query}`, { items }, headers);
}

/** "created shop/orders", in the order of the answer. */
export function outcomes({ body }: Answer): string[] {
  const items = body["items"] as
    | { outcome: string; namespace?: string; name?: string }[]
    | undefined;
  return (items ?? []).map(
    ({ outcome, namespace = "", name = "" }) =>
      `${outcome} ${namespace}/${name}`,
  );
}

/** "items[1].spec.a: MESSAGE" */
export function told({ body }: Answer, what: "causes" | "warnings"): string[] {
  const list = body[what] as { field: string; message: string }[];
  return list.map(({ field, message }) => `${field}: ${message}`);
}

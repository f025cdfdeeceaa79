/** A whole control plane with Services that answer, and a sidecar that holds what it uses. */
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";
import {
  callable,
  startApplication,
  startUsing,
  type UsingSidecar,
} from "../control-plane/asking-sidecar.ts";
import { resource } from "./pair.ts";
import {
  startTestControlPlane,
  type Scope,
  type TestControlPlane,
} from "../control-plane/push-control-plane.ts";

export const GATHER = { quiet: 10, most: 100 };

export interface UsedMesh {
  readonly plane: TestControlPlane;
  readonly sidecar: UsingSidecar;
  readonly ports: ReadonlyMap<string, number>;
  readonly change: (...resources: readonly Resource[]) => Promise<void>;
  readonly remove: (resource: Resource) => Promise<void>;
}

export function mesh(spec: Readonly<Record<string, unknown>> = {}): Resource {
  return resource("Mesh", "default", {
    authorization: { defaultAction: "ALLOW" },
    mtls: { mode: "PERMISSIVE" },
    ...spec,
  });
}

/** Services "NAME" of namespace shop with an application each, and one sidecar that uses none of them yet. */
export async function startUsed(
  t: Scope,
  services: readonly string[],
  more: readonly Resource[] = [mesh()],
  options: Parameters<typeof startUsing>[2] = {},
): Promise<UsedMesh> {
  const plane = await startTestControlPlane(t, { gather: GATHER });
  const ports = new Map<string, number>();
  const change = async (...resources: readonly Resource[]): Promise<void> => {
    for (const each of resources) await plane.store.put(each, undefined);
  };
  for (const name of services) {
    const port = await startApplication(t, name);
    ports.set(name, port);
    await change(...callable(name, port));
  }
  await change(...more);
  const sidecar = await startUsing(t, plane, options);
  const remove = async (each: Resource): Promise<void> => {
    await plane.store.remove(keyOf(each));
  };
  return { plane, sidecar, ports, change, remove };
}

export function routeOf(
  service: string,
  rule: Record<string, unknown>,
): Resource {
  return resource("HTTPRoute", service, {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: service }],
    rules: [rule],
  });
}

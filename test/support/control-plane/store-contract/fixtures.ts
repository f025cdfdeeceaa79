/** What the tests of stores share: how one is opened, and Services to put into it. */
import type { AuditLimits } from "../../../../src/control-plane/audit/audit.ts";
import type { Clock } from "../../../../src/core/clock.ts";
import type {
  Change,
  Expected,
  HistoryLimits,
  Put,
  Store,
} from "../../../../src/control-plane/store/store.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";

/** Opens an empty store; `directory` is empty and the test's own. */
export type OpenStore = (options: {
  readonly directory: string;
  readonly clock: Clock;
  readonly history?: HistoryLimits;
  readonly audit?: AuditLimits;
}) => Promise<Store>;

export function service(
  name: string,
  port = 80,
  more: Partial<Resource["metadata"]> = {},
): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name, namespace: "shop", ...more },
    spec: { ports: [{ port }] },
  };
}

export function key(
  name: string,
  namespace = "shop",
): { kind: string; namespace: string; name: string } {
  return { kind: "Service", namespace, name };
}

/** A put of a Service. */
export function put(name: string, expected?: Expected, port?: number): Put {
  return { resource: service(name, port), expected };
}

/** The next `count` changes after a revision. */
export async function take(
  store: Store,
  after: number,
  count: number,
): Promise<Change[]> {
  const stop = new AbortController();
  const changes: Change[] = [];
  for await (const change of store.watch(after, stop.signal)) {
    changes.push(change);
    if (changes.length === count) break;
  }
  return changes;
}

/** "REVISION TYPE NAME" */
export const summary = ({
  revision,
  type,
  created,
  resource,
}: Change): string =>
  `${revision} ${created === true ? "new" : type} ${resource.metadata.name}`;

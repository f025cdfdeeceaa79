/** Where a resource lives in the REST API. */
import { DEFAULT_NAMESPACE, type Resource } from "../resources/envelope.ts";
import {
  kindByAlias,
  kindOf,
  KINDS,
  type KindDefinition,
} from "../resources/registry.ts";
import { UserError } from "../core/errors.ts";

/** The kind that a person means by "routes", "httproute" or "hr". */
export function kindFor(alias: string): KindDefinition {
  const found = kindByAlias(alias);
  if (found !== undefined) return found;
  const known = KINDS.map((kind) =>
    [kind.plural, ...kind.shortNames].join(" or "),
  ).join(", ");
  throw new UserError(`there is no kind "${alias}"; there are ${known}`);
}

/** The path of a collection; without a namespace, that over all of them. */
export function collectionPath(
  kind: KindDefinition,
  namespace: string | undefined,
): string {
  const group = `/apis/${kind.group}/${kind.version}`;
  return kind.namespaced && namespace !== undefined
    ? `${group}/namespaces/${namespace}/${kind.plural}`
    : `${group}/${kind.plural}`;
}

export function resourcePath(
  kind: KindDefinition,
  namespace: string,
  name: string,
): string {
  return `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}`;
}

/** The path of a resource that has been validated. */
export function pathOf(resource: Resource): string {
  const kind = kindOf(resource.apiVersion, resource.kind);
  if (kind === undefined)
    throw new UserError(
      `there is no kind ${resource.apiVersion} ${resource.kind}`,
    );
  return resourcePath(
    kind,
    resource.metadata.namespace ?? DEFAULT_NAMESPACE,
    resource.metadata.name,
  );
}

/** "httproute/reviews", as the commands print it. */
export function titleOf(resource: Resource): string {
  return `${resource.kind.toLowerCase()}/${resource.metadata.name}`;
}

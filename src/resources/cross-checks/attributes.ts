/** HTTP attributes in a policy that may act on a TCP port: a DENY then refuses the whole port, an ALLOW rule never matches (trap 3). */
import type { Steps } from "../../core/slices.ts";
import { httpAttributes } from "../authorization-policy/http-attributes.ts";
import { AUTHORIZATION_POLICY } from "../authorization-policy/schema.ts";
import { formatName, ROOT_NAMESPACE, type Resource } from "../envelope.ts";
import { isKind, type Problem } from "../kind.ts";
import type { PolicyTargets } from "../policy-targets.ts";
import { warning } from "../problems.ts";
import { speaksHttp, type ServiceResource } from "../service/schema.ts";
import { pathOf } from "./relations.ts";

/** Services with a port that is not for HTTP: made once, asked for each policy. */
export interface OpaqueServices {
  /** One whose workloads a policy of that namespace and those targets may act on. */
  find(namespace: string, targets: PolicyTargets): ServiceResource | undefined;
}

/** May pause at each `yield`. */
export function* opaqueServices(
  services: readonly ServiceResource[],
): Steps<OpaqueServices> {
  // By namespace alone, and by each label of the selector: a policy looks at few of many.
  const index = new Map<string, ServiceResource[]>();
  const byName = new Map<string, ServiceResource>();
  for (const service of services) {
    yield;
    if (service.spec.ports.every(speaksHttp)) continue;
    byName.set(pathOf(service), service);
    const pairs = Object.entries(service.spec.selector ?? {});
    // What is in the root namespace acts on the whole mesh.
    for (const namespace of [service.metadata.namespace ?? "", ROOT_NAMESPACE])
      for (const label of ["", ...pairs.map((pair) => pair.join("="))]) {
        const key = `${namespace} ${label}`;
        const there = index.get(key);
        if (there === undefined) index.set(key, [service]);
        else if (there.at(-1) !== service) there.push(service);
      }
  }
  return {
    find(namespace, { selector, targetRefs }) {
      if (targetRefs !== undefined)
        return targetRefs
          .map(({ name }) => byName.get(`${namespace}/${name}`))
          .find((service) => service !== undefined);
      const wanted = Object.entries(selector?.matchLabels ?? {});
      const [fewest = []] = ["", ...wanted.map((pair) => pair.join("="))]
        .map((label) => index.get(`${namespace} ${label}`) ?? [])
        .sort((a, b) => a.length - b.length);
      return fewest.find(({ spec }) =>
        wanted.every(([label, value]) => spec.selector?.[label] === value),
      );
    },
  };
}

export function checkAttributes(
  resource: Resource,
  opaque: OpaqueServices,
): Problem[] {
  if (!isKind(AUTHORIZATION_POLICY, resource)) return [];
  const { metadata, spec } = resource;
  const service = opaque.find(metadata.namespace ?? "", spec);
  if (service === undefined) return [];
  const { name, namespace = "" } = service.metadata;
  const effect =
    spec.action === "DENY"
      ? "a DENY by it refuses every connection there"
      : spec.action === "AUDIT"
        ? "an AUDIT by it matches every connection there"
        : spec.action === "CUSTOM"
          ? "a CUSTOM by it asks about every connection there"
          : "the rule never matches there";
  return (spec.rules ?? []).flatMap((rule, index) =>
    httpAttributes(rule).map(({ name: asked, at }) =>
      warning(
        ["spec", "rules", index, ...at],
        `Service ${formatName(namespace, name)} has a TCP port, which knows no ${asked}: ${effect}; say with ports what it is for`,
      ),
    ),
  );
}

/** Which Workloads a Service selects: it looks at those that have the rarest of its labels, not at all of its namespace. */
import { selects } from "../../resources/envelope.ts";
import type { ServiceResource } from "../../resources/service/schema.ts";
import type { WorkloadResource } from "../../resources/workload/schema.ts";

/** Indexes the Workloads once; the result gives those of one Service, in the order of `workloads`. */
export function selection(
  workloads: readonly WorkloadResource[],
): (service: ServiceResource) => readonly WorkloadResource[] {
  const byLabel = new Map<string, WorkloadResource[]>();
  for (const workload of workloads) {
    const { namespace = "", labels = {} } = workload.metadata;
    for (const [name, value] of Object.entries(labels)) {
      const key = labelKey(namespace, name, value);
      const list = byLabel.get(key);
      if (list === undefined) byLabel.set(key, [workload]);
      else list.push(workload);
    }
  }
  return ({ metadata: { namespace = "" }, spec: { selector = {} } }) => {
    let fewest: readonly WorkloadResource[] | undefined;
    for (const [name, value] of Object.entries(selector)) {
      const list = byLabel.get(labelKey(namespace, name, value)) ?? [];
      if (fewest === undefined || list.length < fewest.length) fewest = list;
    }
    return (fewest ?? []).filter(({ metadata: { labels } }) =>
      selects(selector, labels),
    );
  };
}

/** Neither a namespace nor a label's name has a space in it. */
function labelKey(namespace: string, name: string, value: string): string {
  return `${namespace} ${name} ${value}`;
}

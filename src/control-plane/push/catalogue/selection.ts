/** Which Workloads each Service selects, kept in step: a change costs what it selects, or by what it is selected. */
import { Multimap } from "../../../core/multimap.ts";
import { selects, type Resource } from "../../../resources/envelope.ts";
import { labelKeys, rarest } from "../../../resources/labels.ts";
import type { ServiceResource } from "../../../resources/service/schema.ts";
import type { Item } from "./item.ts";
import {
  namespaceOf,
  pathOf,
} from "../../../resources/cross-checks/relations.ts";

type Labels = Readonly<Record<string, string>>;

export class Selection {
  /** By `labelKeys` of their labels. */
  readonly #workloads = new Multimap<string, Item>();
  /** By one label of their selectors: what lacks it is not selected. */
  readonly #services = new Multimap<string, string>();
  readonly #anchors = new Map<string, string>();
  readonly #selectors = new Map<string, Labels>();
  readonly #workloadsOf = new Multimap<string, Item>();
  readonly #servicesOf = new Multimap<Item, string>();

  /** `service`: "NAMESPACE/NAME". */
  workloadsOf(service: string): ReadonlySet<Item> {
    return this.#workloadsOf.get(service);
  }

  /** "NAMESPACE/NAME" of those that select it. */
  servicesOf(workload: Item): ReadonlySet<string> {
    return this.#servicesOf.get(workload);
  }

  /** Workloads of the namespace that have the labels, of which there is one at least. */
  workloadsWith(namespace: string, labels: Labels): readonly Item[] {
    const keys = labelKeys(namespace, labels);
    const fewest = rarest(keys, (key) => this.#workloads.get(key).size);
    return [...this.#workloads.get(fewest ?? "")].filter(({ resource }) =>
      selects(labels, resource?.metadata.labels),
    );
  }

  /** "NAMESPACE/NAME" of the Services that would select a workload of the labels. */
  servicesFor(namespace: string, labels: Labels): readonly string[] {
    return labelKeys(namespace, labels)
      .flatMap((key) => [...this.#services.get(key)])
      .filter((path) => selects(this.#selectors.get(path) ?? {}, labels));
  }

  putService(service: ServiceResource): void {
    const path = pathOf(service);
    const { selector } = service.spec;
    const known = this.#selectors.get(path);
    if (known !== undefined && selector !== undefined)
      if (isSame(known, selector)) return;
    this.removeService(path);
    if (selector === undefined) return;
    const keys = labelKeys(namespaceOf(service), selector);
    const anchor = rarest(keys, (key) => this.#services.get(key).size);
    if (anchor === undefined) return;
    this.#selectors.set(path, selector);
    this.#anchors.set(path, anchor);
    this.#services.add(anchor, path);
    for (const workload of this.workloadsWith(namespaceOf(service), selector))
      this.#link(path, workload);
  }

  removeService(path: string): void {
    const anchor = this.#anchors.get(path);
    if (anchor === undefined) return;
    this.#services.delete(anchor, path);
    this.#anchors.delete(path);
    this.#selectors.delete(path);
    for (const workload of [...this.#workloadsOf.get(path)])
      this.#unlink(path, workload);
  }

  /** `before`: what was there, if anything; the item has the new version. */
  putWorkload(
    workload: Item,
    before: Resource | undefined,
    resource: Resource,
  ): void {
    const labels = resource.metadata.labels ?? {};
    if (before !== undefined) {
      if (isSame(before.metadata.labels ?? {}, labels)) return;
      this.removeWorkload(workload, before);
    }
    for (const key of labelKeys(namespaceOf(resource), labels)) {
      this.#workloads.add(key, workload);
      for (const path of this.#services.get(key))
        if (selects(this.#selectors.get(path) ?? {}, labels))
          this.#link(path, workload);
    }
  }

  removeWorkload(workload: Item, before: Resource): void {
    const labels = before.metadata.labels ?? {};
    for (const key of labelKeys(namespaceOf(before), labels))
      this.#workloads.delete(key, workload);
    for (const path of [...this.#servicesOf.get(workload)])
      this.#unlink(path, workload);
  }

  #link(path: string, workload: Item): void {
    this.#workloadsOf.add(path, workload);
    this.#servicesOf.add(workload, path);
  }

  #unlink(path: string, workload: Item): void {
    this.#workloadsOf.delete(path, workload);
    this.#servicesOf.delete(workload, path);
  }
}

function isSame(left: Labels, right: Labels): boolean {
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => left[key] === right[key])
  );
}

/** What a sidecar of an older push schema can be told of a resource: all of it, the rest without what it does not know, or nothing of it. */
import { createHash } from "node:crypto";
import { spelledOut } from "../../../policy/authorization/spelled-out.ts";
import { DOMAINS_MEANT_SINCE } from "../../../push/names.ts";
import {
  usedOf,
  withoutFields,
  type FieldSince,
} from "../../../push/fields-since.ts";
import { closedForm, keepsOlder } from "../../../push/stand-in.ts";
import { AUTHORIZATION_POLICY } from "../../../resources/authorization-policy/schema.ts";
import type { Resource } from "../../../resources/envelope.ts";
import { isKind } from "../../../resources/kind.ts";
import { SERVICE } from "../../../resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../../../resources/traffic-policy/schema.ts";
import { resourceEntry, type Entry } from "./item.ts";

export type Saying =
  /** `entry`: the resource, or what of it means the same to the sidecar. */
  | { readonly kind: "said"; readonly entry: Entry }
  | {
      readonly kind: "withheld";
      /** What the sidecar does not know, by its paths. */
      readonly fields: readonly string[];
      /** The first schema that knows all of it. */
      readonly schema: number;
      /** Lets nothing through that the resource would not. */
      readonly closed: Entry | undefined;
    };

type Withheld = Extract<Saying, { kind: "withheld" }>;

/** For all sidecars of one schema; what is made for one is everyone's. */
export class Sayings {
  readonly #newer: readonly FieldSince[];
  readonly #schema: number;
  readonly #kinds: ReadonlySet<string>;
  readonly #onEncode: () => void;
  readonly #trustDomains: () => readonly string[];
  /** Those for which `#made` was made. */
  #domains: readonly string[] = [];
  #made = new WeakMap<Entry, Saying>();
  readonly #closed = new WeakMap<Entry, Withheld>();

  /** `onEncode`: as in `resourceEntry`; `trustDomains`: those of the mesh, as they are now. */
  constructor(
    schema: number,
    table: readonly FieldSince[],
    onEncode: () => void,
    trustDomains: () => readonly string[],
  ) {
    this.#trustDomains = trustDomains;
    this.#schema = schema;
    this.#newer = table.filter(({ since }) => since > schema);
    this.#kinds = new Set(this.#newer.map(({ kind }) => kind));
    this.#onEncode = onEncode;
  }

  /** Every resource can be said whole. */
  get isWhole(): boolean {
    return this.#newer.length === 0;
  }

  /** Another one than before: what was said of one resource means something else now that another has changed. */
  get age(): object {
    const now = this.#trustDomains();
    if (now.join() !== this.#domains.join()) {
      this.#domains = now;
      this.#made = new WeakMap();
    }
    return this.#made;
  }

  of(entry: Entry): Saying {
    const { resource } = entry;
    if (resource === undefined || !this.#kinds.has(resource.kind))
      return { kind: "said", entry };
    let saying = this.#made.get(entry);
    if (saying === undefined) {
      saying = this.#make(entry, resource);
      this.#made.set(entry, saying);
    }
    return saying;
  }

  #make(entry: Entry, given: Resource): Saying {
    const resource = this.#meant(given);
    const used = usedOf(resource, this.#newer);
    if (used.length === 0 && resource === given) return { kind: "said", entry };
    const rest = withoutFields(resource, used);
    const lost = used.filter(({ without }) => without === "withheld");
    if (lost.length === 0)
      return {
        kind: "said",
        entry: this.#entry(
          entry,
          rest,
          `${this.#schema}${resource === given ? "" : this.#domainsMark}`,
          entry,
        ),
      };
    const fields = lost.map(({ path, key = "*" }) => path.replace("*", key));
    // What changes no verdict has nothing in its place, whatever the rest of it would do. Nor has a kind that is not known: with it the sidecar would refuse the whole revision.
    const hasClosed = keepsOlder(resource) || isKind(TRAFFIC_POLICY, resource);
    const closed =
      hasClosed && !fields.includes("")
        ? closedForm(withHosts(rest, resource), fields)
        : undefined;
    return {
      kind: "withheld",
      fields,
      schema: Math.max(...lost.map(({ since }) => since)),
      closed: closed && this.#entry(entry, closed, CLOSED_MARK, undefined),
    };
  }

  /** In the place of a Service for which a policy is withheld that calls to it may not go without. */
  closed(entry: Entry): Withheld {
    let saying = this.#closed.get(entry);
    if (saying === undefined) {
      const { resource } = entry;
      const closed = resource && closedForm(resource, []);
      saying = {
        kind: "withheld",
        fields: ["spec.tls of its TrafficPolicy"],
        schema: this.#schema,
        closed: closed && this.#entry(entry, closed, CLOSED_MARK, undefined),
      };
      this.#closed.set(entry, saying);
    }
    return saying;
  }

  /** A DENY by "cluster.local/…" or by an alias would match nobody at a sidecar that compares what is written. */
  #meant(resource: Resource): Resource {
    if (
      this.#schema >= DOMAINS_MEANT_SINCE ||
      !isKind(AUTHORIZATION_POLICY, resource)
    )
      return resource;
    const spec = spelledOut(resource.spec, this.#domains);
    return spec === resource.spec ? resource : { ...resource, spec };
  }

  /** The same for the same domains, whichever process of the control plane makes it. */
  get #domainsMark(): string {
    const hash = createHash("sha256").update(this.#domains.join());
    return `-${hash.digest("base64url").slice(0, 12)}`;
  }

  /** Its version is its own: a sidecar that comes back with newer software and holds it gets the whole. */
  #entry(
    entry: Entry,
    { metadata, ...resource }: Resource,
    mark: string,
    whole: Entry | undefined,
  ): Entry {
    const resourceVersion = `${entry.version}${MARK}${mark}`;
    return resourceEntry(
      entry.item,
      { ...resource, metadata: { ...metadata, resourceVersion } },
      this.#onEncode,
      whole,
    );
  }
}

const MARK = "~";
const CLOSED_MARK = "closed";

/** Whether a version is of what lets nothing through: a sidecar does not go on with it. */
export function isClosed(version: string): boolean {
  return version.endsWith(MARK + CLOSED_MARK);
}

/** One of several hosts may be a wildcard, which an older sidecar cannot read: the others are closed to it by their names. */
function withHosts(rest: Resource, whole: Resource): Resource {
  if (!isKind(SERVICE, rest) || !isKind(SERVICE, whole)) return rest;
  const { hosts } = whole.spec;
  return hosts === undefined
    ? rest
    : { ...rest, spec: { ...rest.spec, hosts } };
}

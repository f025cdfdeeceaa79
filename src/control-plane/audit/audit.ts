/** The audit log: what was done to the mesh, by which token or certificate, from where, and what changed. It is kept in the store. */
import { randomUUID } from "node:crypto";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import { differencesOf, type FieldChange } from "./differences.ts";

/** The doer: one for each request. */
export interface Author {
  /** "ApiToken/ID", "EnrolmentToken/ID" or a SPIFFE ID. */
  readonly by: string;
  /** Address of the connection, without its port. */
  readonly from: string;
  /** The same for all that one request does. */
  readonly request: string;
}

/** One thing that was done. */
export interface Act extends Author {
  readonly verb: string;
  readonly kind: string;
  /** "" for what concerns the whole mesh. */
  readonly namespace: string;
  readonly name: string;
  /** The store's, where the act wrote a resource. */
  readonly revision?: number;
  readonly changes?: readonly FieldChange[];
  /** Changes that are not listed. */
  readonly moreChanges?: number;
  /** What else is to be said. */
  readonly note?: string;
}

export interface AuditEntry extends Act {
  /** Later ones are higher. */
  readonly id: number;
  /** Milliseconds since the Unix epoch, by the control plane's clock. */
  readonly at: number;
}

/** Each that is given must be so. */
export interface AuditQuery {
  readonly by?: string;
  readonly request?: string;
  readonly verb?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  /** Milliseconds since the Unix epoch. */
  readonly since?: number;
  /** What the reader may see: all, or what is in any namespace, or in these. */
  readonly readable: "all" | "namespaced" | readonly string[];
  /** Entries with lower ids than this. */
  readonly before?: number;
  readonly limit: number;
}

export interface AuditPage {
  /** The newest first. */
  readonly entries: readonly AuditEntry[];
  /** Where to go on (`before`); undefined: there are none before. Fewer entries than the limit do not mean that. */
  readonly next: number | undefined;
}

/** Beyond entries and bytes, the oldest go of the author that takes the most (`shares.ts`); beyond the age, all. */
export interface AuditLimits {
  readonly entries: number;
  readonly bytes: number;
  /** Milliseconds. */
  readonly age: number;
}

export const AUDIT_LIMITS: AuditLimits = {
  entries: 100_000,
  bytes: 64 * 1024 * 1024,
  age: 90 * 24 * 3_600_000,
};

/** The author of what one request does. */
export function authorOf(by: string, from: string): Author {
  return { by, from, request: randomUUID() };
}

/** What became of a resource by a write. */
export function actOf(
  author: Author,
  key: ResourceKey,
  before: Resource | undefined,
  after: Resource | undefined,
  revision: number,
): Act {
  const { changes, more } = differencesOf(before, after);
  return {
    ...author,
    verb:
      after === undefined
        ? "delete"
        : before === undefined
          ? "create"
          : "update",
    ...key,
    revision,
    changes,
    ...(more === 0 ? {} : { moreChanges: more }),
  };
}

/** Records what is done beside resources. Call it before that is done: what cannot be recorded does not happen. */
export async function recordAct(
  store: { record(acts: readonly Act[]): Promise<void> },
  author: Author,
  act: Omit<Act, keyof Author>,
): Promise<void> {
  await store.record([{ ...author, ...act }]);
}

/** Revocation: certificates that nobody accepts any more, before their time is over. Kept and pushed as every kind is. */
import Type from "typebox";
import { parseTimestamp } from "../../core/clock.ts";
import type { SpiffeUri } from "../../core/units.ts";
import { ROOT_NAMESPACE, type Resource } from "../envelope.ts";
import {
  defineKind,
  OWN_GROUP,
  type KindDefinition,
  type Problem,
} from "../kind.ts";
import { error } from "../problems.ts";
import { CLOSED, field } from "../schema-parts.ts";

export interface RevocationSpec {
  readonly identity?: SpiffeUri;
  /** "NAMESPACE/NAME" */
  readonly instance?: string;
  readonly serial?: string;
  /** RFC 3339, as `until`. */
  readonly beginsUpTo?: string;
  readonly until?: string;
  readonly reason?: string;
}

export type RevocationResource = Resource<RevocationSpec>;

const TIME = {
  pattern:
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?(Z|[+\\-][0-9]{2}:[0-9]{2})$",
  expected: 'an RFC 3339 time such as "2026-12-01T00:00:00Z"',
};

const spec = Type.Object(
  {
    identity: field(
      "All certificates with this SPIFFE ID.",
      Type.Optional(
        Type.String({
          pattern:
            "^spiffe://[a-z0-9._-]{1,255}/ns/[A-Za-z0-9._-]{1,253}/sa/[A-Za-z0-9._-]{1,253}$",
          maxLength: 2048,
          expected:
            "a SPIFFE ID: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT",
        }),
      ),
    ),
    instance: field(
      "All certificates of this instance, `NAMESPACE/NAME`. Beside `serial`: whose certificate that is, so that plaintext connections to it end too.",
      Type.Optional(
        Type.String({
          pattern: "^[a-z0-9.-]+/[a-z0-9.-]+$",
          maxLength: 320,
          expected: "NAMESPACE/NAME of an instance",
        }),
      ),
    ),
    serial: field(
      "The certificate with this serial number, in hexadecimal. A colon may stand between two digits.",
      Type.Optional(
        Type.String({
          pattern: "^[0-9A-Fa-f]{1,2}(:?[0-9A-Fa-f]{2})*$|^[0-9A-Fa-f]+$",
          maxLength: 64,
          expected: "a serial number in hexadecimal",
        }),
      ),
    ),
    beginsUpTo: field(
      "Certificates whose validity begins later stay valid. The authority sets that begin back by an hour.",
      Type.Optional(Type.String(TIME)),
    ),
    until: field(
      "When it ends. Without it, it ends once no certificate that it concerns can be valid or be renewed.",
      Type.Optional(Type.String(TIME)),
    ),
    reason: field(
      "Why, for people.",
      Type.Optional(Type.String({ maxLength: 256 })),
    ),
  },
  CLOSED,
);

export const REVOCATION: KindDefinition<RevocationSpec> = defineKind({
  kind: "Revocation",
  group: OWN_GROUP,
  version: "v1alpha1",
  plural: "revocations",
  shortNames: ["revoked"],
  namespaced: false,
  meaning:
    "Certificates that nobody accepts any more, by identity, instance or serial number.",
  spec,
  check: checkRevocation,
});

function checkRevocation({ spec }: RevocationResource): Problem[] {
  const { identity, instance, serial, beginsUpTo, until } = spec;
  const problems: Problem[] = [];
  const named = [identity, instance ?? serial].filter(
    (each) => each !== undefined,
  );
  if (named.length !== 1)
    problems.push(
      error(
        ["spec"],
        "needs one of identity, instance and serial; instance may stand beside serial",
      ),
    );
  if (serial === undefined) problems.push(...checkOwn(spec));
  if (serial !== undefined && beginsUpTo !== undefined)
    problems.push(
      error(
        ["spec", "beginsUpTo"],
        "concerns an instance or an identity: a serial number is of one certificate",
      ),
    );
  for (const [name, text] of Object.entries({ beginsUpTo, until }))
    if (text !== undefined && Number.isNaN(parseTimestamp(text)))
      problems.push(
        error(["spec", name], "is a date that the calendar does not have"),
      );
  return problems;
}

/** Sidecars would hear of nothing after it, and so not that it is undone. */
function checkOwn({ identity, instance }: RevocationSpec): Problem[] {
  const message =
    "is the control plane's own, without which nothing could be undone; revoke a certificate of it by its serial number";
  const problems: Problem[] = [];
  if (identity?.endsWith(`/ns/${ROOT_NAMESPACE}/sa/control-plane`) === true)
    problems.push(error(["spec", "identity"], message));
  if (instance === `${ROOT_NAMESPACE}/control-plane`)
    problems.push(error(["spec", "instance"], message));
  return problems;
}

/** The part of the Mesh that says what may be fetched beside public addresses, where a resource names an address to fetch. */
import Type, { type TUnsafe } from "typebox";
import { canonicalRange } from "../../core/text/network.ts";
import type { Problem } from "../kind.ts";
import { error, quote } from "../problems.ts";
import { CLOSED, describes, field } from "../schema-parts.ts";

export interface PrivateFetchSpec {
  /** Whatever they resolve to. */
  readonly hosts?: readonly string[];
  /** CIDR, whatever host leads there. */
  readonly ranges?: readonly string[];
}

export interface PrivateFetch {
  /** In lower case. */
  readonly hosts: readonly string[];
  readonly ranges: readonly string[];
}

/** Absent: public addresses alone. */
export function privateFetch(spec: PrivateFetchSpec | undefined): PrivateFetch {
  return {
    hosts: (spec?.hosts ?? []).map((host) => host.toLowerCase()),
    ranges: spec?.ranges ?? [],
  };
}

export const PRIVATE_FETCH: TUnsafe<PrivateFetchSpec> = Type.Unsafe(
  describes<PrivateFetchSpec>()(
    Type.Object(
      {
        hosts: field(
          "Hosts, whatever they resolve to.",
          Type.Optional(
            Type.Array(
              Type.String({
                pattern: "^[-A-Za-z0-9._:]+$",
                maxLength: 253,
                expected: "a host name or an IP address",
              }),
              { minItems: 1, maxItems: 256 },
            ),
          ),
        ),
        ranges: field(
          "Addresses and CIDR ranges, whatever host leads there.",
          Type.Optional(
            Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
              minItems: 1,
              maxItems: 256,
            }),
          ),
        ),
      },
      CLOSED,
    ),
  ),
);

export function checkPrivateFetch(
  spec: PrivateFetchSpec | undefined,
): Problem[] {
  return (spec?.ranges ?? []).flatMap((range, index) =>
    canonicalRange(range) === undefined
      ? [
          error(
            ["spec", "privateFetch", "ranges", index],
            `${quote(range)} is not an IP address or a CIDR range such as "10.0.0.0/8"`,
          ),
        ]
      : [],
  );
}

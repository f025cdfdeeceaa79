/** Building blocks of the kinds' JSON schemas: closed objects, names, ports and durations, each with the words that a refusal uses. */
import Type, {
  type Static,
  type TSchema,
  type TStringOptions,
  type TUnsafe,
} from "typebox";
import { DURATION_PATTERN } from "../core/duration.ts";

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

type Complete<T> = T extends readonly (infer E)[]
  ? readonly Complete<E>[]
  : T extends object
    ? { readonly [K in keyof T]-?: Complete<T[K]> }
    : T;

type Mutual<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

/** The second comparison finds an optional field that one of the two lacks: the first would let it pass. */
type Same<A, B> =
  Mutual<DeepReadonly<A>, DeepReadonly<B>> extends true
    ? Mutual<Complete<A>, Complete<B>> extends true
      ? unknown
      : never
    : never;

/**
 * Holds a schema to the interface that it stands for: where the two differ the call does not compile.
 * The interfaces are written by hand because declarations are emitted a file at a time and because people read them.
 */
export function describes<T>(): <S extends TSchema>(
  schema: S & Same<Static<S>, T>,
) => TSchema {
  return (schema) => schema;
}

/** An object that takes no other field: an ignored field in a policy is a hole. */
export const CLOSED: { readonly additionalProperties: false } = {
  additionalProperties: false,
};

/** The one keyword that JSON schema does not have: what a value has to be, in words for the author of another. Read after "is not". */
export const KEYWORDS: readonly string[] = ["expected"];

/**
 * A field with what it means, in a sentence, and what is in force where it is left out, as it would be written.
 * Both are for the reference and the API's document alone; nothing fills a default in.
 */
export function field<S extends TSchema>(
  meaning: string,
  schema: S,
  fallback?: unknown,
): S {
  const described = Object.create(
    Object.getPrototypeOf(schema) as object,
    // What TypeBox knows of a schema is in properties that a spread would lose.
    Object.getOwnPropertyDescriptors(schema),
  ) as S & { description?: string; default?: unknown };
  described.description = meaning;
  if (fallback !== undefined) described.default = fallback;
  return described;
}

/** Options of a string schema. */
export interface TextRule extends TStringOptions {
  readonly pattern: string;
  readonly maxLength: number;
  /** Names the type in the reference. */
  readonly title: string;
  readonly expected: string;
}

const LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";

/** RFC 1123 label: namespaces, Services, port names, service accounts. */
export const DNS_LABEL: TextRule = {
  title: "DNS label",
  pattern: `^${LABEL}$`,
  maxLength: 63,
  expected:
    "a DNS-1123 label (at most 63 of a-z, 0-9 and -, starting and ending with a letter or digit)",
};

/** RFC 1123 subdomain: names of most objects, host names. */
export const DNS_NAME: TextRule = {
  title: "DNS name",
  pattern: `^${LABEL}(\\.${LABEL})*$`,
  maxLength: 253,
  expected:
    "a DNS-1123 name (at most 253 of a-z, 0-9, - and ., each part starting and ending with a letter or digit)",
};

/** A DNS name, or "*." before one. */
export const DNS_NAME_OR_WILDCARD: TextRule = {
  title: "DNS name or wildcard",
  pattern: `^(\\*\\.)?${LABEL}(\\.${LABEL})*$`,
  maxLength: 253,
  expected: `${DNS_NAME.expected}, or "*." before one`,
};

export const PORT = {
  title: "Port",
  minimum: 1,
  maximum: 65_535,
  expected: "a port number from 1 to 65535",
} as const;

export const DURATION: TextRule = {
  title: "Duration",
  pattern: DURATION_PATTERN,
  maxLength: 32,
  expected: 'a duration such as "500ms", "1m30s" or "0s" (GEP-2257)',
};

/** A percentage that may be zero. */
export const PERCENT = { minimum: 0, maximum: 100 } as const;

/** RFC 9110 5.6.2 token, as Gateway API bounds it. */
export const HEADER_NAME: TextRule = {
  title: "Header name",
  pattern: "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$",
  maxLength: 256,
  expected: "a header name (RFC 9110 token, at most 256 characters)",
};

/** RFC 9110 5.5 field value: visible characters, blanks within, no CR, LF or NUL. */
export const HEADER_VALUE: TextRule = {
  title: "Header value",
  pattern:
    "^[\\x21-\\x7e\\x80-\\xff]([\\x20-\\x7e\\x80-\\xff\\t]*[\\x21-\\x7e\\x80-\\xff])?$",
  maxLength: 4096,
  expected:
    "a header value (visible characters with blanks only within, at most 4096)",
};

const LABEL_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";

/** Keys of labels and annotations as Kubernetes has them: an optional DNS prefix, then a name. */
export const LABEL_KEY: TextRule = {
  title: "Label key",
  pattern: `^(${LABEL}(\\.${LABEL})*/)?${LABEL_NAME}$`,
  maxLength: 317,
  expected:
    'a label key (an optional DNS prefix and "/", then at most 63 letters, digits, -, _ and .)',
};

export const LABEL_VALUE: TextRule = {
  title: "Label value",
  pattern: `^(${LABEL_NAME})?$`,
  maxLength: 63,
  expected:
    "a label value (empty, or at most 63 letters, digits, -, _ and ., starting and ending with a letter or digit)",
};

/** Labels that a workload must carry to be selected. */
export interface Selector {
  /** Every one must be equal; at least one, for an empty selector could mean all or none. */
  readonly matchLabels: Readonly<Record<string, string>>;
}

/** Labels that a selector asks for; one at least. */
export const WANTED_LABELS: TUnsafe<Readonly<Record<string, string>>> =
  Type.Unsafe(
    Type.Record(Type.String(), Type.String(LABEL_VALUE), {
      propertyNames: LABEL_KEY,
      minProperties: 1,
    }),
  );

export const SELECTOR: TUnsafe<Selector> = Type.Unsafe(
  Type.Object(
    {
      matchLabels: field(
        "Labels that a workload must have, all of them. They are those that its certificate binds.",
        WANTED_LABELS,
      ),
    },
    CLOSED,
  ),
);

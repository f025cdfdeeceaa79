/** Which headers a provider of authorization may write, and which of them a caller may not send in its name. */
import {
  classOf,
  dashed,
  FieldClass,
  isLookalike,
} from "../../mesh/field-class.ts";
import { HEADER_NAME } from "../../resources/schema-parts.ts";
import { matchText } from "./patterns.ts";

const { CONNECTION, FRAMING, MESH, IDENTITY } = FieldClass;
const NEVER = CONNECTION | FRAMING | MESH | IDENTITY;
/** These belong to one connection by older rules (RFC 2616 13.5.1), or to framing. */
const NEVER_NAMES: ReadonlySet<string> = new Set([
  ...["trailer", "proxy-authenticate", "proxy-authorization", "expect"],
  ...["grpc-status", "grpc-message", "grpc-status-details-bin"],
]);
const NAME = new RegExp(HEADER_NAME.pattern);

/** No list makes a provider, or a caller in its name, write these. `name`: in lower case. */
export function isWritable(name: string): boolean {
  return (
    NAME.test(name) &&
    (classOf(name) & NEVER) === 0 &&
    !NEVER_NAMES.has(name) &&
    !isLookalike(name)
  );
}

/** Whether a name is on the list. A name with "_" is the one with "-", in the list and out of it. */
export function listed(patterns: readonly string[]): (name: string) => boolean {
  const tests = patterns.map((pattern) => matchText(dashed(pattern)));
  return (name) =>
    isWritable(name) && tests.some(({ meets }) => meets(dashed(name)));
}

/** What only the provider may say and the caller said: it is taken out, asked or not. `stays`: a check wrote what has that name. */
export function reserved(
  fields: readonly { readonly name: string }[],
  isItsOwn: (name: string) => boolean,
  stays: (name: string) => boolean,
): ReadonlySet<string> {
  return new Set(
    fields
      .map(({ name }) => name)
      .filter((name) => isItsOwn(name) && !stays(name)),
  );
}

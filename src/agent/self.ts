/** Who this sidecar's workload is: what its certificate says, and the ports that were declared when it was started. */
import { X509Certificate } from "node:crypto";
import { UserError } from "../core/errors.ts";
import type { Credentials } from "../identity/credentials.ts";
import { readBinding, type Binding } from "../identity/extensions.ts";
import type { SelfDescription } from "../policy/snapshot.ts";

export interface DeclaredSelf {
  /** Where the certificate binds none, as one that another authority made. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ports?: Readonly<Record<string, number>>;
  readonly locality?: string;
}

/** Kept, for each connection asks for it. */
const bindings = new WeakMap<Credentials, Binding | "none">();

function bindingOf(credentials: Credentials): Binding | undefined {
  let known = bindings.get(credentials);
  if (known === undefined) {
    const leaf = new X509Certificate(credentials.certificateChain);
    known = readBinding(leaf) ?? "none";
    bindings.set(credentials, known);
  }
  return known === "none" ? undefined : known;
}

/** A certificate's own binding goes before what was declared (trap 16). Throws UserError where neither gives a name. */
export function describeSelf(
  credentials: Credentials,
  declared: DeclaredSelf,
): SelfDescription {
  const { namespace, serviceAccount } = credentials.spiffeId;
  const binding = bindingOf(credentials);
  const name = binding?.name ?? declared.name;
  if (name === undefined)
    throw new UserError(
      `the certificate of ${credentials.id} is bound to no workload instance, and no name was given: enrol with a token, or say --name`,
    );
  return {
    name,
    namespace,
    serviceAccount,
    labels: binding?.labels ?? declared.labels ?? {},
    identity: credentials.id,
    ...(declared.ports === undefined ? {} : { ports: declared.ports }),
    ...(declared.locality === undefined ? {} : { locality: declared.locality }),
  };
}

/** Enrolment without a shell: keeps a good token in a file for each service account that is named, for its sidecars to read. */
import { join } from "node:path";
import { parseTimestamp, wait, type Clock } from "../../core/clock.ts";
import { makeDirectory } from "../../core/directory.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { readSecret, writeSecret } from "../../core/secret-file.ts";
import { parseToken, type EnrolmentToken } from "../../push/token.ts";
import { ROOT_NAMESPACE } from "../../resources/envelope.ts";
import { DNS_LABEL } from "../../resources/schema-parts.ts";
import { CONTROL_PLANE_ACCOUNT } from "../own-credentials.ts";
import type { Store } from "../store/store.ts";
import { createEnrolmentToken } from "./enrolment-token.ts";
import { verifyToken } from "./token-use.ts";
import { tokenSweep } from "../tokens.ts";

export interface BootstrapAccount {
  /** The folder of its token. */
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface BootstrapOptions {
  readonly directory: string;
  readonly accounts: readonly BootstrapAccount[];
  readonly store: Store;
  /** Fingerprints of the roots: where they change, so do the tokens. */
  readonly fingerprints: () => Pick<EnrolmentToken, "ca" | "next">;
  /** "HOST:PORT" of the control plane, for the tokens to carry. */
  readonly address?: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A token is one of a short life: it lies in a file for as long as the control plane runs. */
const TTL = 3_600_000;
const USES = 1000;
/** Milliseconds between looks at the files. */
const LOOK = 5000;

/** "NAME=NAMESPACE/ACCOUNT:LABEL=VALUE:LABEL=VALUE"; without a label, app=ACCOUNT. Throws UserError. */
export function bootstrapAccountOf(text: string): BootstrapAccount {
  const [, name = "", namespace = "", serviceAccount = "", rest = ""] =
    /^([^=/:]+)=([^=/:]+)\/([^=/:]+)((?::[^:=]+=[^:=]*)*)$/.exec(text) ?? [];
  const isLabel = new RegExp(DNS_LABEL.pattern);
  if (![name, namespace, serviceAccount].every((part) => isLabel.test(part)))
    throw new UserError(
      `invalid --bootstrap-account "${text}": expected NAME=NAMESPACE/ACCOUNT:LABEL=VALUE, such as web=shop/web:app=web`,
    );
  if (namespace === ROOT_NAMESPACE && serviceAccount === CONTROL_PLANE_ACCOUNT)
    throw new UserError(
      `invalid --bootstrap-account "${text}": ${namespace}/${serviceAccount} is the control plane itself`,
    );
  const labels = Object.fromEntries(
    rest
      .split(":")
      .filter((pair) => pair !== "")
      .map((pair) => pair.split("=", 2) as [string, string]),
  );
  return {
    ...{ name, namespace, serviceAccount },
    labels: rest === "" ? { app: serviceAccount } : labels,
  };
}

/** Where the account's token is. */
export function bootstrapFile(directory: string, name: string): string {
  return join(directory, name, "token");
}

/** Resolves once every file was written, or could not be; goes on until the result is called. What fails is said, and tried again. */
export async function keepBootstrapTokens(
  options: BootstrapOptions,
): Promise<() => Promise<void>> {
  const { accounts, store, clock } = options;
  const keeping = { ...options, sweep: tokenSweep(store, clock) };
  const stop = new AbortController();
  /** By account: what was said last. */
  const said = new Map<string, string>();
  const look = async (): Promise<void> => {
    for (const account of accounts) await keepOne(keeping, account, said);
  };
  await look();
  const going = (async () => {
    for (;;) {
      await wait(clock, LOOK, stop.signal);
      await look();
    }
  })().catch(() => undefined);
  return () => {
    stop.abort();
    return going;
  };
}

async function keepOne(
  options: BootstrapOptions & { readonly sweep: () => Promise<void> },
  account: BootstrapAccount,
  said: Map<string, string>,
): Promise<void> {
  const { directory, store, fingerprints, address, clock, logger } = options;
  const { name, ...identity } = account;
  const file = bootstrapFile(directory, name);
  try {
    if (await isGood(options, account, file)) return;
    await makeDirectory(join(directory, name));
    await options.sweep();
    const { id, text, expiresAt } = await createEnrolmentToken(store, clock, {
      ...identity,
      ...{ ttl: TTL, uses: USES, ...fingerprints() },
      ...(address === undefined ? {} : { address }),
    });
    // The one before stays good: a sidecar may have read it just now.
    await writeSecret(file, text);
    said.delete(name);
    logger.info({ file, id, expiresAt }, "a bootstrap token was written");
  } catch (thrown) {
    const reason = messageOf(thrown);
    if (said.get(name) !== reason)
      logger.error({ file, reason }, "no bootstrap token could be written");
    said.set(name, reason);
  }
}

/** Whether the file's token is this store's, for this account, with half of its life and of its uses left. */
async function isGood(
  { store, fingerprints, address, clock }: BootstrapOptions,
  account: BootstrapAccount,
  file: string,
): Promise<boolean> {
  try {
    const text = (await readSecret(file, "the bootstrap token")).trim();
    const token = parseToken(text);
    const { spec } = await verifyToken(store, clock, text);
    const { labels, namespace, serviceAccount } = account;
    const { ca, next } = fingerprints();
    return (
      token?.ca === ca &&
      token.next === next &&
      token.address === address &&
      spec.namespace === namespace &&
      spec.serviceAccount === serviceAccount &&
      JSON.stringify(spec.labels) === JSON.stringify(labels) &&
      spec.usesLeft > USES / 2 &&
      parseTimestamp(spec.expiresAt) - clock.wall() > TTL / 2
    );
  } catch {
    // There is none yet, or none of this store: one is made.
    return false;
  }
}

/** The first contact with a control plane of which only the root's fingerprint is known: finds the root in what the server presents, before anything is said to it. */
import type { X509Certificate } from "node:crypto";
import { timestamp, type Clock } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import type { WallMs } from "../../core/units.ts";
import {
  chainFault,
  opensslAloneIn,
  pinnedRoot,
} from "../../identity/chain.ts";

export interface FirstContactOptions {
  /** For messages: "the control plane at HOST:PORT". */
  readonly where: string;
  /** SHA-256 of the root's DER, hexadecimal; in a rotation also that of the root that takes its place. */
  readonly fingerprints: readonly string[];
  readonly clock: Pick<Clock, "wall">;
}

/** The reason within what grpc-js says of a connection that it cannot make. */
const WITHIN_GRPC = /Last error: (?:Error: )?(.+?)\.? Resolution note:/;
const NOT_THERE =
  "none of its certificates has the fingerprint that the token carries";

export class FirstContact {
  readonly #options: FirstContactOptions;
  #wasSeen = false;
  #root: string | undefined;
  #fault: UserError | undefined;
  #forOpenSsl = false;

  constructor(options: FirstContactOptions) {
    this.#options = options;
  }

  /** PEM; its fingerprint makes it the right one. Undefined where none was found. */
  get root(): string | undefined {
    return this.#root;
  }

  /** Why the server is not the right one. */
  get fault(): UserError | undefined {
    return this.#fault;
  }

  /** What the server presented leads to the root, but has restrictions in it that OpenSSL alone judges: that takes a connection which is made with the root. */
  get isForOpenSsl(): boolean {
    return this.#forOpenSsl;
  }

  /** The reason with which no server was reached; undefined where one has shown its certificates. */
  unreached(reason: string): string | undefined {
    if (this.#wasSeen) return undefined;
    const { where } = this.#options;
    const [, within = reason] = WITHIN_GRPC.exec(reason) ?? [];
    // OpenSSL's words where the other end speaks something else, as the API's port does.
    const why = within.includes("wrong version number")
      ? "it does not speak TLS; give the port for sidecars (--push, 15012), not that of the API"
      : within;
    return `${where} cannot be reached: ${why}`;
  }

  /** Whether what a server presents (leaf first) leads to the root. Throws DerError where a certificate cannot be read. */
  verify(chain: readonly X509Certificate[]): boolean {
    const { where, fingerprints, clock } = this.#options;
    this.#wasSeen = true;
    const now = clock.wall();
    const roots = fingerprints.flatMap(
      (fingerprint) => pinnedRoot(chain, fingerprint) ?? [],
    );
    const faults = roots.map((root) => chainFault(chain, [root], now));
    const root = roots[faults.indexOf(undefined)];
    this.#root = root?.toString();
    this.#fault =
      root === undefined
        ? new UserError(
            `${where} ${clockFault(chain, roots, now) ?? `is not the one that made the token: ${faults[0] ?? NOT_THERE}; nothing was sent to it. Check the address, or make a token there with \`wherry token create\``}`,
          )
        : undefined;
    this.#forOpenSsl =
      root !== undefined && opensslAloneIn([...chain, root]) !== undefined;
    return root !== undefined && !this.#forOpenSsl;
  }
}

/** What is wrong where the chain leads to the root of the token, but for its dates; undefined where it is something else. */
function clockFault(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: WallMs,
): string | undefined {
  const all = [...chain, ...roots];
  const from = Math.max(...all.map((each) => each.validFromDate.getTime()));
  const to = Math.min(...all.map((each) => each.validToDate.getTime()));
  if (!roots.some((root) => chainFault(chain, [root], from) === undefined))
    return undefined;
  return `made the token, but its certificate is not valid by this machine's clock, which says ${timestamp(now)}: it is valid from ${timestamp(from)} to ${timestamp(to)}. Nothing was sent to it: set the clocks of both machines, by NTP for example`;
}

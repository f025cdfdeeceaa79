/** The first contact with a control plane of which only the root's fingerprint is known: finds the root, and says nothing before. */
import { connect } from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { messageOf, UserError } from "../../core/errors.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { chainFault, pinnedRoot } from "../../identity/chain.ts";
import { CONTROL_PLANE } from "../../push/names.ts";
import { presentedChain } from "../../wire/tls/tls-context.ts";

export interface FirstContactOptions {
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the root's DER, hexadecimal; in a rotation also that of the root that takes its place. */
  readonly fingerprints: readonly string[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const TIMEOUT = 10_000;
const NOT_THERE =
  "none of its certificates has the fingerprint that the token carries";

/**
 * The root as PEM, taken from the chain that the server presents. Its fingerprint makes it the right one; that the server's
 * certificate leads to it is checked here, and again, with the server's name, by every connection that trusts it from now on.
 * Sends no application byte. Rejects with UserError where the chain does not end in that root.
 */
export function findRoot(options: FirstContactOptions): Promise<string> {
  const { host, port, fingerprints, clock, signal } = options;
  const where = `the control plane at ${formatHostPort(host, port)}`;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const socket = connect({
      host,
      port,
      servername: `${CONTROL_PLANE.serviceAccount}.${CONTROL_PLANE.namespace}`,
      // Nobody is trusted yet; the chain is judged below, by the fingerprint.
      rejectUnauthorized: false,
      minVersion: "TLSv1.3",
      ecdhCurve: "X25519MLKEM768:X25519:P-256",
      ALPNProtocols: ["h2"],
    });
    const settle = (run: () => void): void => {
      cancelTimeout();
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      run();
    };
    const fail = (error: Error): void => settle(() => reject(error));
    const onAbort = (): void => fail(signal.reason as Error);
    const cancelTimeout = clock.after(TIMEOUT, () =>
      fail(
        new Error(
          `${where} did not finish the TLS handshake within ${TIMEOUT / 1000} s`,
        ),
      ),
    );
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", (thrown) =>
      fail(
        new Error(`${where} cannot be reached: ${messageOf(thrown)}`, {
          cause: thrown,
        }),
      ),
    );
    socket.on("secureConnect", () => {
      const chain = presentedChain(socket);
      const roots = fingerprints.flatMap(
        (fingerprint) => pinnedRoot(chain, fingerprint) ?? [],
      );
      const faults = roots.map((root) =>
        chainFault(chain, [root], clock.wall()),
      );
      const root = roots[faults.indexOf(undefined)];
      if (root === undefined)
        fail(
          new UserError(
            `${where} is not the one that made the token: ${faults[0] ?? NOT_THERE}; nothing was sent to it. Check the address, or make a token there with \`wherry token create\``,
          ),
        );
      else settle(() => resolve(root.toString()));
    });
  });
}

/** What the mesh says to a name: an address that stands for it, that there is no such name, or that it is somebody else's. */
import type { Lookups } from "../../agent/interest/lookups.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import { formatInterest, LONGEST_HOST } from "../../push/interest.ts";
import { lookFor } from "../not-held.ts";
import { fullName } from "./virtual-addresses.ts";

export type NameVerdict =
  /** A Service's; `host` is the one name by which calls to it are known. */
  | { readonly kind: "service"; readonly host: string; readonly own: boolean }
  /** Below the mesh's own names, where there is nothing. */
  | { readonly kind: "nothing" }
  /** Not the mesh's. `unsure`: the mesh could not be asked, so that it may be. */
  | { readonly kind: "elsewhere"; readonly unsure: boolean }
  /** The mesh's, and not known at the moment. */
  | { readonly kind: "unknown" };

interface Known {
  readonly snapshot: Snapshot;
  readonly lookups: Lookups | undefined;
}

/**
 * Calls `done` once, maybe before this returns. What is in the mesh and not held is asked for: a call to it will follow. `now` tells what
 * is known at the moment; undefined where there is no config.
 */
export function judgeName(
  host: string,
  now: () => Known | undefined,
  done: (verdict: NameVerdict) => void,
): void {
  const known = now();
  if (known === undefined) {
    done({ kind: "unknown" });
    return;
  }
  const found = serviceOf(known.snapshot, host);
  const shape = shapeOf(host, known.snapshot.mesh.trustDomain);
  if (found !== undefined) done(found);
  else if (shape === "never") done({ kind: "nothing" });
  else
    learn(host, known, (failed) => {
      const after = now()?.snapshot ?? known.snapshot;
      done(
        serviceOf(after, host) ?? (failed ? notLearnt(shape) : absent(shape)),
      );
    });
}

function learn(
  host: string,
  { lookups }: Known,
  done: (failed: boolean) => void,
): void {
  const questions =
    host.length > LONGEST_HOST ? [] : [formatInterest({ kind: "host", host })];
  const look = lookFor(lookups, undefined, questions);
  if (look === undefined) done(false);
  else look((failure) => done(failure !== undefined));
}

function serviceOf(snapshot: Snapshot, host: string): NameVerdict | undefined {
  const destination = snapshot.destination(host, undefined);
  if (destination === undefined) return undefined;
  const own = !destination.cluster.external;
  const full = own ? fullName(destination, snapshot.mesh.trustDomain) : host;
  return { kind: "service", host: full, own };
}

/** Whether the form of the name alone tells whose it is. */
type Shape = "mesh" | "never" | "any";

/** A name of the mesh's with a search domain behind it is nobody's: no question with it leaves this machine. */
function shapeOf(host: string, trustDomain: string): Shape {
  const domain = trustDomain.toLowerCase();
  const dotted = `.${host}`;
  if (dotted.includes(`.svc.${domain}.`)) return "never";
  const own = dotted.endsWith(`.svc.${domain}`) || dotted.endsWith(".svc");
  if (!own) return "any";
  const labels = dotted.endsWith(".svc")
    ? dotted.slice(0, -".svc".length)
    : dotted.slice(0, -`.svc.${domain}`.length);
  // NAME.NAMESPACE; anything longer or shorter no Service has.
  return labels.split(".").length === 3 ? "mesh" : "never";
}

function absent(shape: Shape): NameVerdict {
  return shape === "any"
    ? { kind: "elsewhere", unsure: false }
    : { kind: "nothing" };
}

function notLearnt(shape: Shape): NameVerdict {
  return shape === "any"
    ? { kind: "elsewhere", unsure: true }
    : { kind: "unknown" };
}

/**
 * What a sidecar waits for before it is ready, each under its name. That the proxy is ready says nothing of the application: one that
 * waits for its sidecar would never be started.
 */
import { timestamp, type Clock } from "../core/clock.ts";
import type { Watch } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import { timesOf, validFor } from "../identity/trust.ts";
import type { Snapshot } from "../policy/snapshot.ts";
import type { PortsFound } from "./probe.ts";

export const CHECKS = [
  "listeners",
  "resolver",
  "certificate",
  "config",
  "application",
] as const;

export interface Check {
  readonly name: (typeof CHECKS)[number];
  readonly ok: boolean;
  /** What there is, or what is missing. */
  readonly detail: string;
}

export interface ReadinessOptions {
  readonly clock: Clock;
  readonly credentials: Watch<Credentials | undefined>;
  /** The certificate that is in use no more. */
  readonly ended?: () => Credentials | undefined;
  readonly snapshot: Watch<Snapshot | undefined>;
  /** What is known of the application's ports. */
  readonly application: Watch<PortsFound | undefined>;
  /** What the resolver is at, undefined until it may be asked; absent where there is to be none. */
  readonly resolver?: Watch<string | undefined> | undefined;
  /** It is on its way out. */
  readonly leaving: () => boolean;
}

export interface Readiness {
  /** In the order of `CHECKS`, without those of what there is not to be. */
  checks(): readonly Check[];
  /** All of the proxy's own. */
  readonly proxy: boolean;
  /** The proxy is ready, and the application responds on each of its ports. */
  readonly workload: boolean;
  /** Calls at each change that may matter; ends by what it returns. */
  subscribe(run: () => void): () => void;
}

export function makeReadiness(options: ReadinessOptions): Readiness {
  const { credentials, snapshot, resolver } = options;
  const checks = (): readonly Check[] => [
    listeners(options),
    ...(resolver === undefined ? [] : [resolves(resolver)]),
    certificate(options),
    config(options),
    responds(options.application),
  ];
  return {
    checks,
    get proxy() {
      return checks().every(({ name, ok }) => ok || name === "application");
    },
    get workload() {
      return checks().every(({ ok }) => ok);
    },
    subscribe(run) {
      const watches = [options.application, snapshot, credentials, resolver];
      const stops = watches.flatMap((watch) => watch?.subscribe(run) ?? []);
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}

/** They are open before anything else; on the way out they refuse. */
function listeners({ leaving }: ReadinessOptions): Check {
  return leaving()
    ? { name: "listeners", ok: false, detail: "the sidecar is shutting down" }
    : { name: "listeners", ok: true, detail: "open" };
}

function resolves({ value }: Watch<string | undefined>): Check {
  const name = "resolver";
  return value === undefined
    ? { name, ok: false, detail: "not listening yet" }
    : { name, ok: true, detail: value };
}

function certificate(options: ReadinessOptions): Check {
  const { clock, credentials } = options;
  const name = "certificate";
  const value = credentials.value ?? options.ended?.();
  if (value === undefined)
    return {
      name,
      ok: false,
      detail: "none yet; the log tells of the enrolment",
    };
  const { notBefore, notAfter } = value;
  const end = timestamp(notAfter);
  return credentials.value !== undefined &&
    validFor(value, timesOf(value.meshTime, clock)) > 0
    ? { name, ok: true, detail: `valid until ${end}` }
    : {
        name,
        ok: false,
        detail: `not valid now: valid from ${timestamp(notBefore)} to ${end}`,
      };
}

function config({ snapshot }: ReadinessOptions): Check {
  const name = "config";
  return snapshot.value === undefined
    ? { name, ok: false, detail: "none yet; /config tells of its source" }
    : {
        name,
        ok: true,
        detail: `revision ${snapshot.value.version.revision}`,
      };
}

function responds({ value }: Watch<PortsFound | undefined>): Check {
  const name = "application";
  if (value === undefined)
    return { name, ok: false, detail: "none of its ports takes a connection" };
  return value.silent.size === 0
    ? { name, ok: true, detail: "answers" }
    : { name, ok: false, detail: [...value.silent.values()].join("; ") };
}

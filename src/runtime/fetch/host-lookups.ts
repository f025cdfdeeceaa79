/**
 * Names become addresses by the system's resolver (nsswitch, hosts file, DNS). A look-up of it cannot be called off, and holds a thread
 * until its name servers have responded or are given up, which takes up to 20 s: so all calls for one name share one look-up.
 */
import dns, { type LookupAddress } from "node:dns";
import { systemClock, type Clock } from "../../core/clock.ts";
import { isOfTheMachine } from "../../core/machine/again.ts";
import type { MonotonicMs } from "../../core/units.ts";

/** `addresses` is absent where there is an error, as Node's own look-up has it. */
export type ResolveHost = (host: string, done: OnResolved) => void;

type OnResolved = (
  error: Error | null,
  addresses?: readonly LookupAddress[],
) => void;

/** Milliseconds that a result serves for, and a failure. The resolver does not give the time to live of a record. */
export const ANSWER_SERVES = 5000;
export const FAILURE_SERVES = 1000;
/** Look-ups at a time; one more fails at once. A scan of names fills no memory. */
export const MOST_LOOKUPS = 256;
/** Names that are kept with their results. */
const MOST_KEPT = 1024;

interface Result {
  readonly error: Error | null;
  readonly addresses: readonly LookupAddress[];
  readonly until: MonotonicMs;
}

export class HostLookups {
  readonly #resolve: ResolveHost;
  readonly #clock: Pick<Clock, "now">;
  /** The oldest first. */
  readonly #results = new Map<string, Result>();
  readonly #open = new Map<string, OnResolved[]>();

  constructor(resolve: ResolveHost, clock: Pick<Clock, "now">) {
    this.#resolve = resolve;
    this.#clock = clock;
  }

  readonly resolve: ResolveHost = (host, done) => {
    const known = this.#results.get(host);
    if (known !== undefined && known.until > this.#clock.now()) {
      // In a later turn, as a look-up is.
      setImmediate(() => done(known.error, known.addresses));
      return;
    }
    const waiting = this.#open.get(host);
    if (waiting !== undefined) waiting.push(done);
    else if (this.#open.size >= MOST_LOOKUPS)
      setImmediate(() => done(tooMany(host)));
    else {
      this.#open.set(host, [done]);
      this.#resolve(host, (error, addresses = []) =>
        this.#end(host, error, addresses),
      );
    }
  };

  #end(
    host: string,
    error: Error | null,
    addresses: readonly LookupAddress[],
  ): void {
    const waiting = this.#open.get(host) ?? [];
    this.#open.delete(host);
    this.#results.delete(host);
    for (const [oldest] of this.#results) {
      if (this.#results.size < MOST_KEPT) break;
      this.#results.delete(oldest);
    }
    const serves = error === null ? ANSWER_SERVES : FAILURE_SERVES;
    const until = this.#clock.now() + serves;
    // What this machine lacks says nothing of a name.
    if (!isOfTheMachine(error))
      this.#results.set(host, { error, addresses, until });
    for (const done of waiting) done(error, addresses);
  }
}

function tooMany(host: string): Error {
  return Object.assign(
    new Error(
      `${host} is not resolved: ${MOST_LOOKUPS} names wait for the name servers`,
    ),
    { code: "EAI_AGAIN" },
  );
}

const lookups = new HostLookups(
  (host, done) => dns.lookup(host, { all: true }, done),
  systemClock,
);

/** The process's own. */
export const resolveHost: ResolveHost = lookups.resolve;

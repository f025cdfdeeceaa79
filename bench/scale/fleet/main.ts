/**
 * The process of the fleet: so many sidecars' streams, without their proxies. `GET /settled?revision=R` answers when all have that
 * revision, `GET /taken?after=T` when all have taken a push since then.
 */
import { createServer } from "node:http";
import { join } from "node:path";
import { readArguments } from "../../arguments.ts";
import { openAuthority } from "../../../src/control-plane/authority/authority.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { formatInterest } from "../../../src/push/interest.ts";
import { PORTS, TRUST_DOMAIN } from "../layout.ts";
import { nameOf, namespaceOf, shapeOf, usedBy, type Shape } from "../mesh.ts";
import { Member } from "./member.ts";
import { connectFromManySources } from "./sources.ts";

/** Streams that begin in one go: the control plane answers the first before it hears of the last. */
const AT_ONCE = 10;
/** Milliseconds between them. */
const BETWEEN = 20;

/** Monotonic milliseconds, the same in all processes of the machine. */
export interface Settled {
  readonly members: number;
  /** Of the resources that the last of them holds. */
  readonly resources: number;
  readonly median: number;
  readonly last: number;
}

interface Waiting {
  readonly isSettled: (member: Member) => boolean;
  readonly resolve: (settled: Settled) => void;
}

class Fleet {
  readonly #members: readonly Member[];
  readonly #waiting = new Set<Waiting>();

  constructor(
    make: (index: number, onTaken: () => void) => Member,
    count: number,
  ) {
    this.#members = Array.from({ length: count }, (_, index) =>
      make(index, () => this.#look()),
    );
  }

  start(): void {
    let next = 0;
    const cancel = systemClock.every(BETWEEN, () => {
      for (const member of this.#members.slice(next, next + AT_ONCE))
        void member.run();
      next += AT_ONCE;
      if (next >= this.#members.length) cancel();
    });
  }

  when(isSettled: (member: Member) => boolean): Promise<Settled> {
    return new Promise((resolve) => {
      this.#waiting.add({ isSettled, resolve });
      this.#look();
    });
  }

  faults(): Readonly<Record<string, number>> {
    const counts = new Map<string, number>();
    for (const { fault } of this.#members)
      if (fault !== undefined) counts.set(fault, (counts.get(fault) ?? 0) + 1);
    return Object.fromEntries(counts);
  }

  #look(): void {
    for (const waiting of this.#waiting) {
      if (!this.#members.every(waiting.isSettled)) continue;
      this.#waiting.delete(waiting);
      const times = Float64Array.from(
        this.#members,
        ({ takenAt }) => takenAt,
      ).sort();
      waiting.resolve({
        members: this.#members.length,
        resources: this.#members.at(-1)?.resources ?? 0,
        median: times[Math.floor(times.length / 2)] ?? Number.NaN,
        last: times.at(-1) ?? Number.NaN,
      });
    }
  }
}

function interestsOf(shape: Shape, index: number): readonly string[] {
  return [
    { kind: "self" } as const,
    ...usedBy(shape, index).map((service) => ({
      kind: "service" as const,
      namespace: namespaceOf(service),
      name: nameOf(service),
    })),
  ].map(formatInterest);
}

async function main(): Promise<void> {
  const { values } = readArguments(
    process.argv.slice(2),
    {
      state: { type: "string", default: "" },
      count: { type: "string", default: "1" },
      // Of the mesh of which each uses ten; each subscribes to everything where it is absent.
      services: { type: "string" },
    },
    "bench/scale starts it",
  );
  const authority = await openAuthority({
    directory: join(values.state, "authority"),
    trustDomain: TRUST_DOMAIN,
    clock: systemClock,
  });
  const { services } = values;
  const shape = services === undefined ? undefined : shapeOf(Number(services));
  connectFromManySources();
  const stop = new AbortController();
  const fleet = new Fleet(
    (index, onTaken) =>
      new Member({
        index,
        controlPlane: `127.0.0.1:${PORTS.push}`,
        authority,
        interests: shape === undefined ? undefined : interestsOf(shape, index),
        clock: systemClock,
        signal: stop.signal,
        onTaken,
      }),
    Number(values.count),
  );
  const answer = (url: URL): Promise<unknown> => {
    const number = (name: string): number => Number(url.searchParams.get(name));
    switch (url.pathname) {
      case "/settled":
        return fleet.when(({ revision }) => revision >= number("revision"));
      case "/taken":
        return fleet.when(({ takenAt }) => takenAt > number("after"));
      default:
        return Promise.resolve(fleet.faults());
    }
  };
  createServer((request, response) => {
    void answer(new URL(request.url ?? "/", "http://localhost")).then((body) =>
      response.end(JSON.stringify(body)),
    );
  }).listen(PORTS.fleet, "127.0.0.1", () => fleet.start());
}

await main();

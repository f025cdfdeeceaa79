/** Law 17, whatever comes in whatever order: what goes has run out, is agreed on or long lost, is none of many, and is no Service's last. */
import t from "tap";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { LONGEST_UNCONFIRMED } from "../../../src/control-plane/registry/expiry.ts";
import {
  GRACE,
  JUDGED_AFTER,
} from "../../../src/control-plane/registry/preservation.ts";
import {
  startRegistry,
  type Registry,
} from "../../../src/control-plane/registry/registry.ts";
import { REPORT_COUNTS } from "../../../src/control-plane/registry/reports.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { UNCONFIRMED_SINCE } from "../../../src/resources/workload/schema.ts";
import {
  fakeClock,
  seededRandom,
  type FakeClock,
} from "../../support/clocks/fake-clock.ts";
import { PEER, settle } from "../../support/control-plane/registry.ts";

const SEEDS = 25;
const STEPS = 150;
const SECOND = 1000;
const TTL = 10_000;
const NAMES = Array.from({ length: 8 }, (_, at) => `web-${at}`);
const SERVICES: Readonly<Record<string, readonly string[]>> = {
  front: NAMES.slice(0, 4),
  back: NAMES.slice(2),
  lone: NAMES.slice(7),
};
const PORTS = { http: 8080 };
const CALLERS = ["cart-1", "cart-2", "cart-3"];

/** What the oracle knows of one instance: no more than what was done to it. */
interface Known {
  readonly peer: Peer;
  there: boolean;
  release: (() => void) | undefined;
  /** The last sign of its sidecar, while nothing holds it. */
  signAt: number;
  reports: Map<string, { readonly reached: boolean; readonly at: number }>;
}

class World {
  readonly known: ReadonlyMap<string, Known>;
  readonly wrong: string[] = [];
  gone = 0;
  marks = 0;
  readonly #fake: FakeClock;
  readonly #random: () => number;
  readonly #store: Store;
  #registry: Registry | undefined;
  /** Milliseconds that the process has stood still in all. */
  #stalled = 0;
  /** Nothing may go before. */
  #until = 0;
  #marked = new Set<string>();

  constructor(seed: number) {
    this.#fake = fakeClock();
    this.#random = seededRandom(seed);
    this.#store = openMemoryStore({ clock: this.#fake });
    this.known = new Map(
      NAMES.map((name, at) => [
        name,
        {
          peer: { ...PEER, name, key: name, source: `10.0.1.${at + 1}` },
          there: false,
          release: undefined,
          signAt: 0,
          reports: new Map(),
        },
      ]),
    );
  }

  get now(): number {
    return this.#fake.now() + this.#stalled;
  }

  get registry(): Registry {
    if (this.#registry === undefined) throw new Error("start() comes first");
    return this.#registry;
  }

  /** A control plane on the store, in place of the one before. */
  async start(): Promise<void> {
    for (const each of this.known.values()) this.release(each);
    await this.#registry?.close();
    this.#registry = await startRegistry({
      store: this.#store,
      clock: { ...this.#fake, now: () => this.now },
      logger: silentLogger,
    });
    this.#until = this.now + GRACE;
    this.#registry.spare({
      serving: () => ({
        servicesOf: (workload) =>
          Object.keys(SERVICES).filter((service) =>
            SERVICES[service]?.includes(nameOf(workload)),
          ),
        endpointsOf: (service) =>
          (SERVICES[service] ?? [])
            .filter((name) => this.known.get(name)?.there === true)
            .map((name) => `shop/${name}`),
      }),
      caughtUp: () => Promise.resolve(),
      callersOf: () => CALLERS.length,
    });
    // A new control plane knows of no report.
    for (const { reports } of this.known.values()) reports.clear();
  }

  async register(each: Known): Promise<void> {
    await this.registry.register(each.peer, {
      address: each.peer.source,
      ports: PORTS,
      ttl: "10s",
    });
    each.there = true;
    this.#sign(each);
  }

  hold(each: Known): void {
    each.release ??= this.registry.hold(each.peer);
    this.#sign(each);
  }

  release(each: Known): void {
    if (each.release === undefined) return;
    each.release();
    each.release = undefined;
    this.#sign(each);
  }

  async deregister(each: Known): Promise<void> {
    await this.registry.deregister(each.peer);
    each.there = false;
  }

  report(each: Known, caller: string, reached: boolean): void {
    const workload = [`shop/${each.peer.name}`];
    const [both, neither] = [{ reached: [], unreached: [] }, [] as string[]];
    this.registry.report(
      {
        ...PEER,
        name: caller,
        identity: "spiffe://cluster.local/ns/shop/sa/c",
      },
      reached
        ? { reached: workload, unreached: neither }
        : { ...both, unreached: workload },
      () => true,
    );
    if (!this.confirmed(each, this.now))
      each.reports.set(caller, { reached, at: this.now });
  }

  /** Another identity registers from its address, which it gets where the lease has run out. */
  async takeOver(each: Known): Promise<void> {
    const peer: Peer = {
      ...each.peer,
      name: "taker",
      serviceAccount: "taker",
      identity: "spiffe://cluster.local/ns/shop/sa/taker",
      key: "taker",
    };
    const free = !each.there || !this.confirmed(each, this.now);
    const got = await this.registry
      .register(peer, { address: peer.source, ports: PORTS })
      .then(
        () => true,
        () => false,
      );
    // Leases last longer after a start or a stall, which the registry alone knows.
    const lease = this.registry.lease(`shop/${each.peer.name}`);
    if (got ? !free : lease?.confirmed === false)
      this.wrong.push(`the address of ${each.peer.name}: ${got}`);
    if (got) each.there = false;
    await this.registry.deregister(peer);
  }

  stall(): void {
    this.#stalled += 5 * SECOND;
    this.#until = this.now + GRACE;
  }

  /** A second goes by; what went and what was marked in it is looked at. */
  async pass(): Promise<void> {
    const before = this.now;
    this.#fake.advance(SECOND);
    await settle(this.registry, NAMES);
    const { resources } = await this.#store.list("Workload");
    const there = new Map(
      resources.map(({ metadata }) => [metadata.name, metadata.annotations]),
    );
    const times = [before, this.now];
    const many = times.every((at) => this.#isMany(at));
    for (const [name, each] of this.known) {
      if (each.there && !there.has(name)) this.#judgeGone(each, times, many);
      const mark = there.get(name)?.[UNCONFIRMED_SINCE];
      if (mark !== undefined) this.#judgeMark(each, times, many);
      else this.#marked.delete(name);
    }
    for (const [name, each] of this.known) each.there = there.has(name);
  }

  /** By the signs that it gave. */
  confirmed({ release, signAt }: Known, at: number): boolean {
    return release !== undefined || at - signAt < TTL;
  }

  pick<T>(from: readonly T[]): T {
    const item = from[Math.floor(this.#random() * from.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  #sign(each: Known): void {
    each.signAt = this.now;
    each.reports.clear();
  }

  #isMany(at: number): boolean {
    const there = [...this.known.values()].filter((each) => each.there);
    // What has run out in this very second may not have been counted.
    const lost = there.filter((each) => !this.confirmed(each, at - SECOND));
    return lost.length >= 3 && lost.length > there.length * 0.15;
  }

  #judgeGone(each: Known, times: readonly number[], many: boolean): void {
    this.gone += 1;
    const { name } = each.peer;
    const lasted = this.now - each.signAt - TTL;
    if (each.release !== undefined || lasted < JUDGED_AFTER)
      this.wrong.push(`${name} went ${lasted} ms after its lease`);
    if (many || this.now < this.#until)
      this.wrong.push(`${name} went though it was preserved`);
    for (const [service, members] of Object.entries(SERVICES))
      if (
        members.includes(name) &&
        !members.some((other) => {
          const known = this.known.get(other);
          return (
            other !== name &&
            known?.there === true &&
            times.some((at) => this.confirmed(known, at))
          );
        })
      )
        this.wrong.push(`${name} was the last of ${service}`);
    if (lasted < LONGEST_UNCONFIRMED && !this.#agreed(each, times))
      this.wrong.push(`${name} went after ${lasted} ms without a quorum`);
  }

  #agreed({ reports }: Known, times: readonly number[]): boolean {
    return times.some((at) => {
      const fresh = [...reports.values()].filter(
        (report) => at - report.at < REPORT_COUNTS,
      );
      return fresh.length >= 2 && fresh.every(({ reached }) => !reached);
    });
  }

  #judgeMark(each: Known, times: readonly number[], many: boolean): void {
    const { name } = each.peer;
    if (times.every((at) => this.confirmed(each, at)))
      this.wrong.push(`${name} is marked and confirmed`);
    if (this.#marked.has(name)) return;
    this.#marked.add(name);
    this.marks += 1;
    if (many || this.now < this.#until)
      this.wrong.push(`${name} is marked though it is preserved`);
  }
}

function nameOf(workload: string): string {
  return workload.slice(workload.indexOf("/") + 1);
}

async function step(world: World): Promise<void> {
  const each = world.pick([...world.known.values()]);
  if (world.chance(0.02)) await world.start();
  else if (world.chance(0.03)) world.stall();
  else if (world.chance(0.08)) await world.takeOver(each);
  else if (world.chance(0.04)) await world.deregister(each);
  else if (world.chance(0.25)) world.release(each);
  else if (world.chance(0.5)) {
    world.hold(each);
    await world.register(each);
  } else
    for (const caller of CALLERS)
      if (world.chance(0.7)) world.report(each, caller, world.chance(0.1));
  const seconds = world.chance(0.1) ? 90 : world.chance(0.5) ? 7 : 1;
  for (let second = 0; second < seconds; second += 1) await world.pass();
}

void t.test("random orders", async (t) => {
  let [gone, marks] = [0, 0];
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const world = new World(seed);
    await world.start();
    for (const each of world.known.values()) {
      world.hold(each);
      await world.register(each);
    }
    for (let count = 0; count < STEPS; count += 1) await step(world);

    // One that never comes back while all others are there goes in the end.
    const [lost, ...others] = world.known.values();
    for (const each of others) {
      world.hold(each);
      await world.register(each);
    }
    if (lost !== undefined) world.release(lost);
    for (let at = 0; at < GRACE + LONGEST_UNCONFIRMED + 2 * TTL; at += SECOND)
      await world.pass();
    t.same(world.wrong, [], `seed ${seed}`);
    t.same(
      [...world.known.values()].map(({ there }) => there),
      [false, ...others.map(() => true)],
      `who is left after seed ${seed}`,
    );
    gone += world.gone;
    marks += world.marks;
    await world.registry.close();
  }
  t.ok(gone > SEEDS && marks > gone, `${gone} went, ${marks} were marked`);
});

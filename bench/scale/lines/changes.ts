/** What a change of one Service costs a sidecar: one that it does not use, and its route, policy and endpoint where it does. */
import { UserError } from "../../../src/core/errors.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { Bed } from "../bed.ts";
import { figuresOf, spreadOf, type Figure } from "../figures.ts";
import { PORTS } from "../layout.ts";
import type { Answer, Load, WindowResult } from "../load.ts";
import { policyOf, routeOf, workloadOf } from "../mesh.ts";
import type { HeldUp } from "../probe.ts";
import type { Sidecar } from "../sidecar.ts";

/** Milliseconds without a change that are measured for comparison. */
const QUIET = 8000;
/** Milliseconds behind each change: what it brings is over by then. */
const SETTLE = 500;
/** Milliseconds in which a change has to be in force. */
const WITHIN = 60_000;
const LOOK = 5;

interface Measured {
  readonly calls: WindowResult;
  /** Of the event loop, by change. */
  readonly held: readonly HeldUp[];
  /** Milliseconds of CPU for all of it. */
  readonly cpu: number;
  readonly took: number;
  readonly bytes: number;
  /** Milliseconds from the response of the API until it was in force, by change. */
  readonly inForce: readonly number[];
}

/** A change, and what tells that it is in force. */
interface Change {
  readonly resource: Resource;
  /** Undefined where nothing does: whoever does not use a Service need not hear of it. */
  readonly inForce: ((revision: number) => Promise<void>) | undefined;
}

export async function measureChanges(bed: Bed): Promise<Figure[]> {
  const sidecar = await bed.newSidecar();
  const load = bed.load();
  try {
    await bed.warmUp(load);
    const run = new ChangeRun(bed, sidecar, load);
    const quiet = await run.quiet();
    const rows: (readonly [string, string, number])[] = [
      ["quiet: pause, longest", "ms", quiet.held[0]?.pause ?? Number.NaN],
      [
        "quiet: work in one go, longest",
        "ms CPU",
        quiet.held[0]?.work ?? Number.NaN,
      ],
      ["quiet: CPU", "% of a core", (100 * quiet.cpu) / quiet.took],
      ["quiet: call p50", "ms", quiet.calls.p50],
      ["quiet: call p99", "ms", quiet.calls.p99],
      ["quiet: failed calls", "", quiet.calls.failed],
    ];
    for (const [name, change] of kindsOf(run)) {
      bed.around.say(`  changes: ${name}`);
      const measured = await run.series(change);
      rows.push(...rowsOf(name, measured, quiet, bed.options.changes));
    }
    return figuresOf("changes", rows);
  } finally {
    await load.stop();
    await sidecar.stop();
  }
}

function rowsOf(
  name: string,
  measured: Measured,
  quiet: Measured,
  changes: number,
): (readonly [string, string, number])[] {
  const { calls, held, cpu, took, bytes, inForce } = measured;
  const pause = spreadOf(held.map((each) => each.pause));
  const work = spreadOf(held.map((each) => each.work));
  const force = spreadOf(inForce);
  const idle = (quiet.cpu / quiet.took) * took;
  return [
    [`${name}: bytes to the sidecar`, "B a change", bytes / changes],
    [`${name}: CPU`, "ms a change", Math.max(0, cpu - idle) / changes],
    [`${name}: pause, median`, "ms", pause.p50],
    [`${name}: pause, longest`, "ms", pause.worst],
    [`${name}: work in one go, median`, "ms CPU", work.p50],
    [`${name}: work in one go, longest`, "ms CPU", work.worst],
    [`${name}: slowest call`, "ms", calls.worst],
    [`${name}: failed calls`, "", calls.failed],
    ...(inForce.length === 0
      ? []
      : ([
          [`${name}: in force, p50`, "ms", force.p50],
          [`${name}: in force, p99`, "ms", force.p99],
        ] as const)),
  ];
}

function kindsOf(
  run: ChangeRun,
): (readonly [string, (index: number) => Change])[] {
  return [
    ["unused", (index) => run.unused(index)],
    ["route", (index) => run.route(index)],
    ["policy", (index) => run.policy(index)],
    ["endpoint", (index) => run.endpoint(index)],
  ];
}

class ChangeRun {
  readonly #bed: Bed;
  readonly #sidecar: Sidecar;
  readonly #load: Load;
  /** The Service that is called most. */
  readonly #changed: number;

  constructor(bed: Bed, sidecar: Sidecar, load: Load) {
    this.#bed = bed;
    this.#sidecar = sidecar;
    this.#load = load;
    this.#changed = bed.shape.used[0] ?? 0;
  }

  /** Nothing changes. */
  async quiet(): Promise<Measured> {
    return this.#measured(async (held) => {
      await this.#bed.pause(QUIET);
      held.push(await this.#sidecar.heldUp());
      return [];
    });
  }

  /** One change after the other, as many as are asked for. */
  async series(change: (index: number) => Change): Promise<Measured> {
    const { api, options, around } = this.#bed;
    return this.#measured(async (held) => {
      const times: number[] = [];
      for (let index = 1; index <= options.changes; index += 1) {
        const { resource, inForce } = change(index);
        const returned = api
          .put(resource)
          .then((revision) => ({ revision, at: around.clock.now() }));
        // It may be in force before the response is here.
        const { revision, at } = await returned;
        if (inForce !== undefined) {
          await inForce(revision);
          times.push(Math.max(0, around.clock.now() - at));
        }
        await this.#bed.pause(SETTLE);
        held.push(await this.#sidecar.heldUp());
      }
      return times;
    });
  }

  /** The route of a Service that nobody calls, another one each time. */
  unused(index: number): Change {
    const { shape } = this.#bed;
    const known = new Set([...shape.used, ...shape.fresh]);
    const others = Array.from(
      { length: shape.services },
      (_, service) => service,
    ).filter((service) => !known.has(service));
    const candidates = others.length > 0 ? others : shape.fresh;
    const service = candidates[(index * 37) % candidates.length] ?? 0;
    const resource = routeOf(service, { generation: `unused-${index}` });
    return { resource, inForce: undefined };
  }

  route(index: number): Change {
    const generation = `route-${index}`;
    const resource = routeOf(this.#changed, { generation });
    return {
      resource,
      inForce: this.#seen(
        ({ headers }) => headers["x-generation"] === generation,
      ),
    };
  }

  policy(index: number): Change {
    const resource = policyOf(this.#changed, { errors: 5 + (index % 2) });
    return {
      resource,
      inForce: (revision) => this.#acknowledged(revision),
    };
  }

  /** The one Workload of the Service moves to another port. */
  endpoint(index: number): Change {
    const port = index % 2 === 1 ? PORTS.elsewhere : PORTS.application;
    const resource = workloadOf(this.#bed.shape, this.#changed, 0, { port });
    return {
      resource,
      inForce: this.#seen(({ headers }) => headers["x-port"] === String(port)),
    };
  }

  /** Begins to look at once; resolves at the first answer that shows it. */
  #seen(shows: (answer: Answer) => boolean): () => Promise<void> {
    const { clock } = this.#bed.around;
    const seen = Promise.withResolvers<undefined>();
    const leave = this.#load.listen((answer) => {
      if (answer.service === this.#changed && shows(answer))
        seen.resolve(undefined);
    });
    return async () => {
      const cancel = clock.after(WITHIN, () => seen.reject(tooLate()));
      try {
        await seen.promise;
      } finally {
        cancel();
        leave();
      }
    };
  }

  async #acknowledged(revision: number): Promise<void> {
    const { clock } = this.#bed.around;
    const until = clock.now() + WITHIN;
    while (clock.now() < until) {
      const { sidecars } = await this.#bed.api.status();
      const has = sidecars.some(
        ({ connected, acknowledged }) =>
          connected && (acknowledged?.revision ?? 0) >= revision,
      );
      if (has) return;
      await this.#bed.pause(LOOK);
    }
    throw tooLate();
  }

  async #measured(
    run: (held: HeldUp[]) => Promise<readonly number[]>,
  ): Promise<Measured> {
    const { clock } = this.#bed.around;
    const held: HeldUp[] = [];
    await this.#sidecar.heldUp();
    const bytes = await this.#bytes();
    const cpu = this.#sidecar.cpu.ms();
    const from = clock.now();
    const window = this.#load.window();
    const inForce = await run(held);
    const calls = await window.end();
    return {
      calls,
      held,
      inForce,
      cpu: this.#sidecar.cpu.ms() - cpu,
      took: clock.now() - from,
      bytes: (await this.#bytes()) - bytes,
    };
  }

  /** That the control plane has sent: the sidecar is the only one. */
  async #bytes(): Promise<number> {
    const { statistics } = await this.#bed.api.status();
    return statistics["bytes"] ?? Number.NaN;
  }
}

function tooLate(): UserError {
  return new UserError(`a change was not in force within ${WITHIN / 1000} s`);
}

/** What a change of one Service costs a sidecar: one that it does not use, and its route, policy and endpoint where it does. */
import type { Resource } from "../../../src/resources/envelope.ts";
import type { Bed } from "../bed.ts";
import { figuresOf, type Figure } from "../figures.ts";
import { PORTS } from "../layout.ts";
import { policyOf, routeOf, unusedOf, workloadOf } from "../mesh.ts";
import { changeRows, Observer, quietRows, type Change } from "../observe.ts";

/** Milliseconds without a change that are measured for comparison. */
const QUIET = 6000;
/** Milliseconds behind each change that is seen to be in force, and behind one that is not. */
const SETTLE = 250;
const SETTLE_UNSEEN = 500;
/** Milliseconds between two looks at what the sidecar has acknowledged. */
const LOOK = 5;

export async function measureChanges(bed: Bed): Promise<Figure[]> {
  const { changes } = bed.options;
  const sidecar = await bed.newSidecar();
  const load = bed.load();
  try {
    await bed.warmUp(load);
    const observer = new Observer(sidecar, load, bed.around.clock);
    const quiet = await observer.quiet(QUIET);
    const rows = quietRows(quiet);
    for (const [name, settle, change] of kindsOf(bed, observer)) {
      bed.around.say(`  changes: ${name}`);
      const bytes = await sent(bed);
      const observed = await observer.series(changes, settle, change);
      const sentFor = (await sent(bed)) - bytes;
      rows.push(
        [`${name}: bytes to the sidecar`, "B a change", sentFor / changes],
        ...changeRows(name, observed, quiet, changes),
      );
    }
    return figuresOf("changes", rows);
  } finally {
    await load.stop();
    await sidecar.stop();
  }
}

type Kind = readonly [
  name: string,
  settle: number,
  change: (index: number) => Change,
];

function kindsOf(bed: Bed, observer: Observer): Kind[] {
  const { api, shape } = bed;
  // The one that is called most.
  const changed = shape.used[0] ?? 0;
  const put = (resource: Resource) => (): Promise<number> => api.put(resource);
  const unused = unusedOf(shape);
  return [
    [
      "unused",
      SETTLE_UNSEEN,
      (index) => {
        const service = unused[(index * 37) % unused.length] ?? 0;
        const generation = `unused-${index}`;
        return { apply: put(routeOf(service, { generation })) };
      },
    ],
    [
      "route",
      SETTLE,
      (index) => {
        const generation = `route-${index}`;
        return {
          apply: put(routeOf(changed, { generation })),
          inForce: observer.seen(
            changed,
            ({ headers }) => headers["x-generation"] === generation,
          ),
        };
      },
    ],
    [
      "policy",
      SETTLE,
      (index) => ({
        apply: put(policyOf(changed, { errors: 5 + (index % 2) })),
        inForce: (revision) =>
          observer.until(() => hasAcknowledged(bed, revision), LOOK),
      }),
    ],
    [
      "endpoint",
      SETTLE,
      // Its one Workload moves to another port.
      (index) => {
        const port = index % 2 === 1 ? PORTS.elsewhere : PORTS.application;
        return {
          apply: put(workloadOf(shape, changed, 0, { port })),
          inForce: observer.seen(
            changed,
            ({ headers }) => headers["x-port"] === String(port),
          ),
        };
      },
    ],
  ];
}

async function hasAcknowledged(bed: Bed, revision: number): Promise<boolean> {
  const { sidecars } = await bed.api.status();
  return sidecars.some(
    ({ connected, acknowledged }) =>
      connected && (acknowledged?.revision ?? 0) >= revision,
  );
}

/** Bytes that the control plane has sent: the sidecar is the only one. */
async function sent(bed: Bed): Promise<number> {
  const { statistics } = await bed.api.status();
  return statistics["bytes"] ?? Number.NaN;
}

/** When the application beside a sidecar that leaves is gone: its ports, its connections, its process. */
import { createServer, type Server } from "node:net";
import t, { type Test } from "tap";
import { silentLogger } from "../../src/core/log.ts";
import {
  QUIET,
  startApplication,
  type Application,
} from "../../src/sidecar/application.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import { listening, until } from "../support/meshes/pair.ts";

interface Bed {
  readonly clock: FakeClock;
  readonly application: Application;
  /** Of two workers. */
  readonly connections: [
    { open: number; made: number },
    { open: number; made: number },
  ];
  ports: readonly number[];
}

function makeBed(
  t: Test,
  ports: readonly number[],
  process?: { readonly alive: boolean },
): Bed {
  const clock = fakeClock();
  const bed: Omit<Bed, "application"> = {
    clock,
    ports,
    connections: [
      { open: 0, made: 3 },
      { open: 0, made: 4 },
    ],
  };
  const application = startApplication({
    clock,
    logger: silentLogger,
    ownPorts: new Set(),
    address: "127.0.0.1",
    ports: () => bed.ports,
    connections: () => Promise.resolve(structuredClone(bed.connections)),
    process,
  });
  t.teardown(() => application.close());
  return Object.assign(bed, { application });
}

/** An application that listens. */
async function server(t: Test): Promise<{ server: Server; port: number }> {
  const made = createServer((socket) => socket.destroy());
  const port = await listening(made);
  t.teardown(() => made.close());
  return { server: made, port };
}

/** Whether it is gone at the last of each of so many looks. */
async function after(
  { application }: Bed,
  ...counts: readonly number[]
): Promise<boolean[]> {
  const found: boolean[] = [];
  for (const count of counts) {
    let gone = false;
    for (let look = 0; look < count; look += 1) gone = await application.gone();
    found.push(gone);
  }
  return found;
}

void t.test("without a port its connections alone count", async (t) => {
  const bed = makeBed(t, []);
  await until(() => bed.application.found.value?.answers === true);
  bed.application.leave();
  t.same(await after(bed, 1, QUIET - 1, 1), [false, false, true]);
});

void t.test("an open connection, in whichever worker, keeps it", async (t) => {
  const bed = makeBed(t, []);
  bed.application.leave();
  bed.connections[1].open = 1;
  t.same(await after(bed, 1, QUIET, QUIET), [false, false, false]);
  bed.connections[1].open = 0;
  t.same(await after(bed, QUIET - 1, 1), [false, true]);
});

void t.test(
  "one that came and went between two looks keeps it for a while",
  async (t) => {
    const bed = makeBed(t, []);
    bed.application.leave();
    t.same(await after(bed, 1, QUIET - 1), [false, false]);
    bed.connections[0].made += 1;
    t.same(await after(bed, 1, QUIET - 1, 1), [false, false, true]);
  },
);

void t.test("it is there as long as its port is open", async (t) => {
  const { server: app, port } = await server(t);
  const bed = makeBed(t, [port]);
  await until(() => bed.application.found.value?.answers === true);
  bed.application.leave();
  // Deregistered, the sidecar has no Service any longer.
  bed.ports = [];
  t.same(await after(bed, 1, QUIET, QUIET), [false, false, false]);
  app.close();
  await until(() => {
    bed.clock.advance(1);
    return bed.application.found.value?.answers === false;
  });
  t.same(await after(bed, QUIET), [true]);
});

void t.test("one that never came is gone", async (t) => {
  const { server: app, port } = await server(t);
  app.close();
  const bed = makeBed(t, [port]);
  bed.application.leave();
  t.same(await after(bed, 1, QUIET), [false, true]);
});

void t.test("where its process is known, its end alone counts", async (t) => {
  const { port } = await server(t);
  const process = { alive: true };
  const bed = makeBed(t, [port], process);
  await until(() => bed.application.found.value?.answers === true);
  bed.application.leave();
  t.same(await after(bed, 1, QUIET, QUIET), [false, false, false]);
  bed.connections[0].open = 1;
  process.alive = false;
  t.same(await after(bed, 1), [true], "whatever others have open");
});

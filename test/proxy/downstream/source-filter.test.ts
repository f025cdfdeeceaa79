/** Who is dropped by the kernel, for how long, and what follows. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import t from "tap";
import { descriptorOf } from "../../../src/runtime/socket-option.ts";
import { duplicateDescriptor } from "../../../src/runtime/unix/pass-descriptors.ts";
import { until } from "../../support/meshes/pair.ts";
import type { FilteredSource } from "../../../src/runtime/socket-filter.ts";
import {
  filterSources,
  type SourceFilter,
} from "../../../src/proxy/downstream/source-filter.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";

interface Filter {
  readonly clock: FakeClock;
  readonly filter: SourceFilter;
  readonly listener: Server;
  /** What the kernel was told last. */
  readonly told: () => readonly FilteredSource[] | undefined;
  readonly knock: (source: string, times: number, until: number) => boolean;
}

function start(): Filter {
  const clock = fakeClock();
  let last: readonly FilteredSource[] | undefined;
  const filter = filterSources(clock, (_listener, sources) => {
    last = sources.map(({ words, mayTry }) => ({ words, mayTry }));
    return true;
  });
  const listener = createServer();
  filter.guard(listener);
  return {
    clock,
    filter,
    listener,
    told: () => last,
    knock(source, times, until) {
      let dropped = false;
      for (let count = 0; count < times; count += 1)
        dropped = filter.knocked(source, until) || dropped;
      return dropped;
    },
  };
}

void t.test("who knocks often is dropped, then may try, then is free", (t) => {
  const { clock, filter, told, knock } = start();
  t.equal(knock("10.0.0.1", 19, 5000), false);
  t.equal(told(), undefined, "the kernel heard nothing yet");
  t.equal(knock("10.0.0.1", 1, 5000), true, "the twentieth in half a second");
  t.same(told(), [{ words: [0x0a000001], mayTry: false }]);
  t.equal(knock("10.0.0.1", 5, 5000), false, "who was in line is no news");
  clock.advance(5000);
  t.same(told(), [{ words: [0x0a000001], mayTry: true }]);
  t.equal(knock("10.0.0.1", 1, 15_000), true, "at once: it is known");
  t.same(told(), [{ words: [0x0a000001], mayTry: false }]);
  clock.advance(10_000);
  t.same(told(), [{ words: [0x0a000001], mayTry: true }]);
  clock.advance(60_000);
  t.same(told(), []);
  t.equal(filter.size, 0);
  t.equal(clock.pending, 0, "nothing looks any more");
  t.end();
});

void t.test("who tries now and then is not dropped", (t) => {
  const { clock, told, knock } = start();
  for (let count = 0; count < 100; count += 1) {
    t.equal(knock("10.0.0.1", 10, 100_000), false);
    clock.advance(500);
  }
  t.equal(told(), undefined);
  t.end();
});

void t.test("a /64 of IPv6 is two words", (t) => {
  const { told, knock } = start();
  t.equal(knock("2001:db8:0:7::/64", 20, 5000), true);
  t.same(told(), [{ words: [0x20010db8, 7], mayTry: false }]);
  t.end();
});

void t.test("as many are dropped as each SYN may be compared with", (t) => {
  const { filter, knock } = start();
  for (let index = 0; index < 70; index += 1)
    t.equal(knock(`10.0.0.${index}`, 20, 5000), index < 64);
  t.equal(filter.size, 64);
  t.end();
});

void t.test("a listener that comes later has the filter too", (t) => {
  const clock = fakeClock();
  const told: Server[] = [];
  const filter = filterSources(clock, (listener) => {
    told.push(listener);
    return true;
  });
  for (let count = 0; count < 20; count += 1) filter.knocked("10.0.0.1", 5000);
  t.same(told, []);
  const listener = createServer();
  filter.guard(listener);
  t.same(told, [listener]);
  listener.emit("close");
  clock.advance(5000);
  t.same(told, [listener], "who is closed is not told");
  filter.destroy();
  t.equal(clock.pending, 0);
  t.end();
});

void t.test(
  "what another process has put before a listener is taken away",
  (t) => {
    const clock = fakeClock();
    const told: (readonly [Server, number])[] = [];
    const filter = filterSources(clock, (listener, sources) => {
      told.push([listener, sources.length]);
      return true;
    });
    const own = createServer();
    const inherited = createServer();
    filter.guard(own);
    filter.guard(inherited, true);
    t.same(
      told.splice(0),
      [[inherited, 0]],
      "of this machine's own there is none",
    );
    clock.advance(15_000);
    t.same(told.splice(0), [[inherited, 0]], "once the other has let go");
    const release = filter.guard(createServer(), true);
    told.length = 0;
    release();
    clock.advance(15_000);
    t.same(told, [], "it is nobody's here any more");
    filter.guard(createServer(), true);
    filter.destroy();
    t.equal(clock.pending, 0);
    t.end();
  },
);

void t.test(
  "a listener that is handed over drops nobody for the process that had it",
  { skip: process.platform === "linux" ? false : "Linux alone has it" },
  async (t) => {
    const clock = fakeClock();
    const accepted: string[] = [];
    const open = async (where: object): Promise<Server> => {
      const server = createServer((socket) => {
        accepted.push(socket.remoteAddress ?? "");
        socket.destroy();
      });
      server.listen(where);
      await once(server, "listening");
      t.teardown(() => server.close());
      return server;
    };
    const before = await open({ host: "127.0.0.1", port: 0 });
    const { port } = before.address() as AddressInfo;
    const older = filterSources(clock);
    const release = older.guard(before);
    const knock = (): void => {
      for (let count = 0; count < 20; count += 1)
        older.knocked("127.0.0.5", clock.now() + 5000);
    };
    /** Whether the source gets in: the other one, which came later, does. */
    const getsIn = async (): Promise<boolean> => {
      accepted.length = 0;
      for (const localAddress of ["127.0.0.5", "127.0.0.6"]) {
        const socket = connect({ host: "127.0.0.1", port, localAddress });
        socket.on("error", () => undefined);
        t.teardown(() => socket.destroy());
      }
      await until(() => accepted.includes("127.0.0.6"));
      return accepted.includes("127.0.0.5");
    };
    knock();
    t.equal(await getsIn(), false);
    const fd = duplicateDescriptor(descriptorOf(before) ?? -1);
    const after = await open({ fd });
    filterSources(clock).guard(after, true);
    t.equal(await getsIn(), true, "the newer process begins");
    older.knocked("127.0.0.5", clock.now() + 5000);
    clock.advance(5000);
    knock();
    t.equal(await getsIn(), false, "both listen");
    release();
    before.close();
    t.equal(await getsIn(), true, "the older one has let go");
  },
);

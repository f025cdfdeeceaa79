/** Watches over real connections: every change once and in order, and an end that is said. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import t, { type Test } from "tap";
import { startApi } from "../../../src/control-plane/api/server.ts";
import {
  createApiToken,
  type MadeToken,
} from "../../../src/control-plane/tokens.ts";
import {
  fields,
  OWN,
  rig,
  service,
  SHOP,
  type Rig,
} from "../../support/control-plane/api.ts";

interface Event {
  readonly type: string;
  readonly object: {
    readonly metadata?: {
      readonly name?: string;
      readonly resourceVersion?: string;
    };
    readonly reason?: string;
  };
}

interface Watching {
  readonly response: IncomingMessage;
  /** The next line, or undefined at the end. */
  next(): Promise<Event | undefined>;
  stop(): void;
}

async function watchingRig(
  t: Test,
  settings: Parameters<typeof rig>[1] = {},
): Promise<
  Rig & {
    watch: (url: string, headers?: Record<string, string>) => Promise<Watching>;
    close: () => Promise<void>;
  }
> {
  const made = await rig(t, settings);
  const running = await startApi(made.options, { host: "127.0.0.1", port: 0 });
  t.teardown(() => running.close());
  const viewer = await made.as("viewer");
  return {
    ...made,
    close: () => running.close(),
    async watch(url, headers = viewer) {
      const request = get(`${running.url}${url}`, { headers, agent: false });
      const [response] = (await once(request, "response")) as [IncomingMessage];
      response.on("error", () => undefined);
      request.on("error", () => undefined);
      const lines = createInterface({ input: response })[
        Symbol.asyncIterator
      ]();
      t.teardown(() => request.destroy());
      return {
        response,
        async next() {
          const line = await lines.next();
          return line.done === true
            ? undefined
            : (JSON.parse(line.value) as Event);
        },
        stop: () => request.destroy(),
      };
    },
  };
}

const short = (event: Event | undefined): string =>
  event === undefined
    ? "end"
    : `${event.type} ${event.object.metadata?.name ?? event.object.reason ?? ""}`;

void t.test(
  "a watch shows what is there, then every change in order",
  async (t) => {
    const { call, watch, store } = await watchingRig(t);
    await call("PUT", `${SHOP}/services/a`, service("a"));
    await call("PUT", `${OWN}/namespaces/infra/services/x`, service("x"));
    const here = await watch(`${SHOP}/services?watch=1`);
    t.equal(here.response.statusCode, 200);
    t.equal(here.response.headers["content-type"], "application/jsonl");
    const everywhere = await watch(`${OWN}/services?watch=true`);
    t.equal(short(await here.next()), "ADDED a");
    await call("PUT", `${SHOP}/services/b`, service("b"));
    await call("PUT", `${OWN}/namespaces/infra/services/y`, service("y"));
    await call("PATCH", `${SHOP}/services/a`, {
      metadata: { labels: { n: "1" } },
    });
    await call("DELETE", `${SHOP}/services/a`);
    t.equal(short(await here.next()), "ADDED b");
    t.equal(short(await here.next()), "MODIFIED a");
    const deleted = await here.next();
    t.equal(short(deleted), "DELETED a");
    t.equal(
      deleted?.object.metadata?.resourceVersion,
      String(await store.revision()),
      "the version of the deletion, to resume from",
    );
    const seen: string[] = [];
    for (let count = 0; count < 6; count += 1)
      seen.push(short(await everywhere.next()));
    t.same(seen, [
      "ADDED x",
      "ADDED a",
      "ADDED b",
      "ADDED y",
      "MODIFIED a",
      "DELETED a",
    ]);
  },
);

void t.test("a watch resumes after a version and misses nothing", async (t) => {
  const { call, watch } = await watchingRig(t);
  await call("PUT", `${SHOP}/services/a`, service("a"));
  const list = await call("GET", `${SHOP}/services`);
  const { resourceVersion = "" } = list.body["metadata"] as {
    resourceVersion?: string;
  };
  await call("PUT", `${SHOP}/services/b`, service("b"));
  await call("PATCH", `${SHOP}/services/a`, {
    metadata: { labels: { n: "1" } },
  });
  const watching = await watch(
    `${SHOP}/services?watch=1&resourceVersion=${resourceVersion}`,
  );
  t.equal(short(await watching.next()), "ADDED b");
  t.equal(short(await watching.next()), "MODIFIED a");
});

void t.test(
  "with a selector, a resource comes and goes with its labels",
  async (t) => {
    const { call, watch } = await watchingRig(t);
    const label = (value: string | null): unknown => ({
      metadata: { labels: { tier: value } },
    });
    await call("PUT", `${SHOP}/services/other`, service("other"));
    const watching = await watch(
      `${SHOP}/services?watch=1&labelSelector=tier%3Dx`,
    );
    await call("PUT", `${SHOP}/services/a`, service("a"));
    await call("PATCH", `${SHOP}/services/a`, label("x"));
    await call("PATCH", `${SHOP}/services/a`, label("y"));
    await call("PATCH", `${SHOP}/services/a`, label("x"));
    await call("DELETE", `${SHOP}/services/other`);
    await call("DELETE", `${SHOP}/services/a`);
    const seen: string[] = [];
    for (let count = 0; count < 4; count += 1)
      seen.push(short(await watching.next()));
    t.same(seen, ["ADDED a", "DELETED a", "ADDED a", "DELETED a"]);
  },
);

void t.test(
  "a start that the history no longer holds is 410: list again",
  async (t) => {
    const { call, watch } = await watchingRig(t, {
      history: { rows: 3, bytes: 1e6 },
    });
    for (const name of ["a", "b", "c", "d", "e"])
      await call("PUT", `${SHOP}/services/${name}`, service(name));
    for (const version of [1, 10_000]) {
      const answer = await call(
        "GET",
        `${SHOP}/services?watch=1&resourceVersion=${version}`,
      );
      t.equal(answer.code, 410);
      t.match(answer.body, { reason: "Expired", message: /list again/ });
    }
    const bad = await call(
      "GET",
      `${SHOP}/services?watch=1&labelSelector=a%20b`,
    );
    t.same(fields(bad), ["labelSelector"]);
    const fresh = await watch(`${SHOP}/services?watch=1`);
    t.equal(short(await fresh.next()), "ADDED a");
  },
);

void t.test(
  "a reader that falls behind the history is told so in the stream",
  async (t) => {
    const { call, watch, store } = await watchingRig(t, {
      history: { rows: 5, bytes: 1e9 },
    });
    const watching = await watch(`${SHOP}/services?watch=1`);
    watching.response.pause();
    const ports = Array.from({ length: 60 }, (_, index) => ({
      name: `port-${index}`,
      port: index + 1,
    }));
    const annotations = { text: "x".repeat(60_000) };
    // More than the kernel and the stream hold for a reader that does not read, and the history keeps but five of them.
    for (let count = 0; count < 300; count += 1)
      await store.put(
        {
          apiVersion: "mesh.wherry.dev/v1alpha1",
          kind: "Service",
          metadata: { name: `s${count}`, namespace: "shop", annotations },
          spec: { ports },
        },
        undefined,
      );
    watching.response.resume();
    let last: Event | undefined;
    for (
      let event = await watching.next();
      event !== undefined;
      event = await watching.next()
    )
      last = event;
    t.equal(short(last), "ERROR Expired");
    t.equal((await call("GET", "/livez")).code, 200);
  },
);

void t.test("bookmarks say how far the watch has come", async (t) => {
  const { call, watch, clock, store } = await watchingRig(t);
  const watching = await watch(
    `${SHOP}/services?watch=1&allowWatchBookmarks=1`,
  );
  const first = await watching.next();
  t.equal(first?.type, "BOOKMARK");
  await call("PUT", `${OWN}/namespaces/infra/services/x`, service("x"));
  await new Promise(setImmediate);
  clock.advance(30_000);
  const second = await watching.next();
  t.equal(second?.type, "BOOKMARK");
  t.equal(
    second?.object.metadata?.resourceVersion,
    String(await store.revision()),
  );
});

void t.test("a watch ends with its time, and with the API", async (t) => {
  const { watch, clock, close } = await watchingRig(t);
  const timed = await watch(`${SHOP}/services?watch=1&timeoutSeconds=5`);
  const endless = await watch(`${SHOP}/services?watch=1`);
  const before = clock.pending;
  clock.advance(5000);
  t.equal(short(await timed.next()), "end");
  t.ok(clock.pending < before, "its timers are gone");
  await close();
  t.equal(short(await endless.next()), "end");
});

void t.test("a watch ends with its token", async (t) => {
  const { call, watch, clock, store } = await watchingRig(t);
  const token = (ttl?: number): Promise<MadeToken> =>
    createApiToken(store, clock, {
      role: "viewer",
      ...(ttl === undefined ? {} : { ttl }),
    });
  const open = (made: MadeToken): Promise<Watching> =>
    watch(`${SHOP}/services?watch=1`, {
      authorization: `Bearer ${made.token}`,
    });
  const stolen = await token();
  const [revoked, expired, good] = [
    await open(stolen),
    await open(await token(7000)),
    await open(await token()),
  ];
  await call("PUT", `${SHOP}/services/a`, service("a"));
  for (const each of [revoked, expired, good])
    t.equal(short(await each.next()), "ADDED a");
  t.equal((await call("DELETE", `/tokens/api/${stolen.id}`)).code, 200);
  clock.advance(5000);
  t.equal(short(await revoked.next()), "end", "revoked");
  clock.advance(5000);
  t.equal(short(await expired.next()), "end", "expired");
  await call("PUT", `${SHOP}/services/b`, service("b"));
  t.equal(short(await good.next()), "ADDED b");
});

void t.test("a client that goes away leaves nothing behind", async (t) => {
  const { watch, clock } = await watchingRig(t);
  const idle = clock.pending;
  const watching = await watch(`${SHOP}/services?watch=1&timeoutSeconds=500`);
  t.ok(clock.pending > idle);
  watching.stop();
  while (clock.pending > idle) await new Promise(setImmediate);
  t.equal(clock.pending, idle);
});

/** Calls by caller, port, method and path: counted once each, bounded, and gone once they are drained. */
import t from "tap";
import { Callers } from "../../../src/proxy/observation/callers.ts";

const WEB = "spiffe://cluster.local/ns/shop/sa/web";

type Seen = Parameters<Callers["add"]>[0];

const seen = (over: Partial<Seen> = {}, path = "/", method = "GET"): Seen => ({
  ...{ peer: WEB, address: "10.0.0.2", port: 8080 },
  request: { method, path, host: "orders.shop" },
  ...over,
});

const linesOf = (callers: Callers): readonly string[] =>
  callers
    .drain()
    .calls.map(({ peer, address, port, method, path, count }) =>
      [peer.split("/").at(-1) ?? "", address, port, method, path, count].join(),
    );

void t.test("distinct callers, ports, methods and paths", (t) => {
  const callers = new Callers();
  for (const each of [
    seen(),
    seen(),
    seen({}, "/a"),
    seen({}, "/", "POST"),
    seen({ port: 9090 }),
    seen({ peer: undefined }),
    seen({ peer: undefined, address: undefined }),
    seen({ request: undefined }),
  ])
    callers.add(each);
  t.strictSame(linesOf(callers), [
    "web,,8080,GET,/,2",
    "web,,8080,GET,/a,1",
    "web,,8080,POST,/,1",
    "web,,8080,,,1",
    "web,,9090,GET,/,1",
    ",10.0.0.2,8080,GET,/,1",
    ",,8080,GET,/,1",
  ]);
  t.strictSame(callers.drain(), { calls: [], dropped: 0 });
  t.end();
});

void t.test(
  "a caller's many paths are counted together, and so are long ones",
  (t) => {
    const callers = new Callers();
    for (let path = 0; path < 1000; path += 1)
      callers.add(seen({}, `/${path}`));
    callers.add(seen({}, "/0"));
    callers.add(seen({}, `/${"x".repeat(1000)}`));
    const { calls, dropped } = callers.drain();
    t.equal(dropped, 0);
    t.equal(calls.length, 17);
    t.equal(
      calls.reduce((sum, { count }) => sum + count, 0),
      1002,
    );
    t.equal(calls.find(({ path }) => path === "/0")?.count, 2);
    t.equal(calls.find(({ path }) => path === "")?.count, 985);
    t.end();
  },
);

void t.test("callers without number are counted, and not named", (t) => {
  const callers = new Callers();
  for (let caller = 0; caller < 2000; caller += 1)
    callers.add(
      seen({ peer: undefined, address: `10.0.${caller >> 8}.${caller & 255}` }),
    );
  const { calls, dropped } = callers.drain();
  t.equal(calls.length, 512);
  t.equal(dropped, 1488);
  for (let caller = 0; caller < 512; caller += 1)
    for (let port = 0; port < 20; port += 1)
      callers.add(seen({ peer: undefined, address: `a${caller}`, port }));
  const many = callers.drain();
  t.ok(many.calls.length <= 2048, `${many.calls.length} rows`);
  t.equal(many.calls.length + many.dropped, 512 * 20);
  t.end();
});

/** The store of traces keeps its bounds; the tree is drawn to the letter. */
import t from "tap";
import type { ReceivedSpan } from "../../src/demo/otlp.ts";
import { makeTraceStore, titleOf } from "../../src/demo/trace-store.ts";
import { drawTrace } from "../../src/demo/trace-tree.ts";

function span(
  spanId: string,
  parentSpanId: string,
  more: Partial<ReceivedSpan> = {},
): ReceivedSpan {
  return {
    traceId: "t1",
    spanId,
    parentSpanId,
    service: "web",
    instance: "web-1",
    name: "GET web.shop:80",
    kind: "server",
    start: 1000,
    end: 1010,
    attributes: {},
    error: undefined,
    ...more,
  };
}

void t.test("the oldest traces make room for new ones", (t) => {
  const store = makeTraceStore({ maxTraces: 3 });
  for (const traceId of ["aaaa1", "aaaa2", "bbbb1", "bbbb2"])
    store.add([span("1", "", { traceId })]);
  t.equal(store.list().length, 3);
  t.equal(store.get("aaaa1"), undefined);
  store.add(
    Array.from({ length: 10 }, (_, index) =>
      span("1", "", { traceId: `cccc${index}` }),
    ),
  );
  t.equal(store.list().length, 3, "also within one export");
  t.end();
});

void t.test("one trace cannot take all the memory", (t) => {
  const store = makeTraceStore({ maxTraces: 3 });
  for (let round = 0; round < 3; round += 1)
    store.add(
      Array.from({ length: 600 }, (_, id) => span(`${round}-${id}`, "")),
    );
  t.equal(store.get("t1")?.length, 1000);
  t.end();
});

void t.test(
  "a trace is found by its id, or by a beginning that is its alone",
  (t) => {
    const store = makeTraceStore({ maxTraces: 10 });
    for (const traceId of ["abcd1", "abcd2", "abcd", "ef001"])
      store.add([span("1", "", { traceId })]);
    t.equal(store.get("abcd1")?.[0]?.traceId, "abcd1");
    t.equal(store.get("abcd")?.[0]?.traceId, "abcd", "a whole id goes first");
    t.equal(store.get("ef00")?.[0]?.traceId, "ef001");
    t.equal(store.get("ef0"), undefined, "too short");
    t.equal(store.get("zzzz"), undefined);
    store.add([span("1", "", { traceId: "ef002" })]);
    t.equal(store.get("ef00"), undefined, "two begin so");
    t.end();
  },
);

void t.test("the list is newest first, and sums up", (t) => {
  const store = makeTraceStore({ maxTraces: 10 });
  store.add([
    span("1", "0", { traceId: "old", start: 5, end: 6, error: "X" }),
    span("2", "1", { traceId: "old", service: "orders", start: 4, end: 9 }),
  ]);
  store.add([
    span("1", "", {
      traceId: "new",
      start: 50,
      end: 60,
      attributes: { "http.request.method": "POST", "url.path": "/buy" },
    }),
  ]);
  t.strictSame(store.list(), [
    {
      traceId: "new",
      start: 50,
      durationMs: 10,
      title: "POST /buy",
      services: ["web"],
      spans: 1,
      failed: false,
      rooted: true,
    },
    {
      traceId: "old",
      start: 4,
      durationMs: 5,
      title: "GET web.shop:80",
      services: ["orders", "web"],
      spans: 2,
      failed: true,
      rooted: false,
    },
  ]);
  t.end();
});

void t.test("titles", (t) => {
  const rows: readonly (readonly [ReceivedSpan["attributes"], string])[] = [
    [{ "http.request.method": "GET", "url.path": "/a" }, "GET /a"],
    [{ "url.path": "/a" }, "name /a"],
    [
      { "http.request.method": "GET", "url.full": "http://orders.shop/a" },
      "GET orders.shop/a",
    ],
    [{ "http.request.method": "GET" }, "name"],
  ];
  for (const [attributes, title] of rows)
    t.equal(titleOf(span("1", "", { name: "name", attributes })), title);
  t.end();
});

const plain = (_colour: string, text: string): string => text;
const http = (
  method: string,
  path: string,
  status: number,
): ReceivedSpan["attributes"] => ({
  "http.request.method": method,
  "url.path": path,
  "http.response.status_code": status,
});

const TRACE: readonly ReceivedSpan[] = [
  span("c", "b", {
    service: "catalog",
    start: 1003,
    end: 1006,
    attributes: http("GET", "/products", 200),
  }),
  span("a", "", { end: 1012.4, attributes: http("GET", "/", 200) }),
  span("d", "a", {
    kind: "client",
    name: "POST",
    start: 1007,
    end: 1009,
    attributes: {
      "http.response.status_code": 503,
      "wherry.reason": "NO_ENDPOINT",
    },
    error: "NO_ENDPOINT",
  }),
  span("b", "a", {
    kind: "client",
    start: 1002,
    end: 1007.1,
    attributes: {
      ...http("GET", "", 200),
      "url.full": "http://catalog.shop/products",
      "url.path": "/products",
    },
  }),
];

void t.test("a tree, in order of time, each bar where its span was", (t) => {
  t.equal(
    drawTrace(TRACE, plain),
    `web          server  GET /          200              12.4 ms  ██████████████████████████████
├ web        client  GET /products  200               5.1 ms      ████████████
│ └ catalog  server  GET /products  200               3.0 ms         ███████
└ web        client  POST           503 NO_ENDPOINT   2.0 ms                  █████
`,
  );
  t.end();
});

void t.test("failed spans are red, bars of the others cyan", (t) => {
  const lines = drawTrace(
    TRACE,
    (colour, text) => `<${colour}>${text}</>`,
  ).split("\n");
  t.match(lines[0], /^web .*<cyan>█+<\/>$/);
  t.match(lines[3], /^<red>└ web .*<\/><red> *█+<\/>$/);
  t.end();
});

void t.test(
  "what is incomplete or hostile is drawn all the same, each span once",
  (t) => {
    const count = (spans: readonly ReceivedSpan[]): number =>
      drawTrace(spans, plain).trimEnd().split("\n").length;
    t.equal(count([span("1", "gone"), span("2", "away")]), 2, "no parent came");
    t.equal(count([span("1", "1")]), 1, "its own parent");
    t.equal(count([span("1", "2"), span("2", "1")]), 2, "a circle");
    t.equal(
      count([span("0", ""), span("1", "2"), span("2", "3"), span("3", "1")]),
      4,
      "a circle beside a root",
    );
    t.equal(count([span("1", ""), span("1", "")]), 2, "one id twice");
    const chain = Array.from({ length: 1000 }, (_, id) =>
      span(String(id), id === 0 ? "" : String(id - 1)),
    );
    t.equal(count(chain), 1000, "as deep as a trace may be");
    t.match(
      drawTrace([span("1", "", { end: 1000 })], plain),
      /0\.0 ms {2}█\n$/,
      "no time at all",
    );
    t.end();
  },
);

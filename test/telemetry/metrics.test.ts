import t from "tap";
import { makeMetrics, OVERFLOW_LABEL } from "../../src/telemetry/metrics.ts";

void t.test(
  "counters, gauges and histograms are rendered as Prometheus text",
  (t) => {
    const metrics = makeMetrics({ maxSeries: 100 });
    const requests = metrics.counter("requests_total", "Requests.", [
      "service",
      "code",
    ]);
    requests.with("orders", "200").add();
    requests.with("orders", "200").add(2);
    const age = metrics.gauge("age_seconds", "Age.");
    metrics.collect(() => age.with().set(7));
    age.with().add(1);
    const duration = metrics.histogram(
      "duration_seconds",
      "Time.",
      ["service"],
      [0.1, 1],
    );
    for (const value of [0.05, 0.1, 0.5, 3])
      duration.with("orders").record(value);
    t.equal(
      metrics.render(),
      [
        "# HELP requests_total Requests.",
        "# TYPE requests_total counter",
        'requests_total{service="orders",code="200"} 3',
        "# HELP age_seconds Age.",
        "# TYPE age_seconds gauge",
        "age_seconds 7",
        "# HELP duration_seconds Time.",
        "# TYPE duration_seconds histogram",
        'duration_seconds_bucket{service="orders",le="0.1"} 2',
        'duration_seconds_bucket{service="orders",le="1"} 3',
        'duration_seconds_bucket{service="orders",le="+Inf"} 4',
        'duration_seconds_sum{service="orders"} 3.65',
        'duration_seconds_count{service="orders"} 4',
        "",
      ].join("\n"),
    );
    t.end();
  },
);

void t.test("label values and help are escaped", (t) => {
  const metrics = makeMetrics({ maxSeries: 100 });
  metrics.counter("c", "a\nb\\", ["l"]).with('x"\\\n').add();
  t.match(metrics.render(), "# HELP c a\\nb\\\\\n");
  t.match(metrics.render(), 'c{l="x\\"\\\\\\n"} 1');
  t.end();
});

void t.test(
  "series past the cap are counted together, so that no caller can grow the process (law 10)",
  (t) => {
    const metrics = makeMetrics({ maxSeries: 2 });
    const counter = metrics.counter("c", "", ["l"]);
    for (let index = 0; index < 1000; index += 1)
      counter.with(String(index)).add();
    t.match(metrics.render(), 'c{l="_other"} 998');
    t.equal(metrics.render().split("\n").length, 2 + 3 + 1);
    counter.remove("0");
    counter.remove("never");
    counter.with("new").add();
    t.match(metrics.render(), 'c{l="new"} 1');
    t.end();
  },
);

void t.test(
  "a wrong number of labels and a name used twice are defects, said at once",
  (t) => {
    const metrics = makeMetrics({ maxSeries: 2 });
    const counter = metrics.counter("c", "", ["l"]);
    t.throws(() => counter.with("a", "b"), { message: /takes 1 label/ });
    t.throws(() => metrics.gauge("c", ""), { message: /twice/ });
    t.end();
  },
);

void t.test("the series of a family are read with their labels", (t) => {
  const registry = makeMetrics({ maxSeries: 2 });
  const requests = registry.counter("requests_total", "Requests.", [
    "direction",
    "destination",
  ]);
  requests.with("inbound", 'a "quoted" name, 7').add(3);
  requests.with("outbound", "b").add();
  requests.with("outbound", "past the cap").add(5);
  t.strictSame(
    [...requests.series()].map(([labels, { value }]) => [...labels, value]),
    [
      ["inbound", 'a "quoted" name, 7', 3],
      ["outbound", "b", 1],
      [OVERFLOW_LABEL, OVERFLOW_LABEL, 5],
    ],
  );
  t.end();
});

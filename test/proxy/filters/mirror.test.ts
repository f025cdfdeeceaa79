/** RequestMirror: copies are marked, bounded, and never felt by the request itself. */
import { once } from "node:events";
import type { IncomingMessage, RequestListener } from "node:http";
import { connect } from "node:http2";
import t from "tap";
import { systemClock, type Clock } from "../../../src/core/clock.ts";
import {
  COPY_TIMEOUT,
  MOST_COPIES,
} from "../../../src/proxy/filters/mirror.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

interface Copy {
  readonly headers: IncomingMessage["headers"];
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly body: string;
}

/** Answers requests, and keeps copies, which `answer` may answer. */
function keeping(
  copies: Copy[],
  answer: RequestListener = (_request, response) => {
    response.writeHead(500, { "x-of": "copy" });
    response.end("of the copy");
  },
): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { headers, method, url } = request;
      if (headers["x-mirrored-from"] === undefined) {
        response.end(`original of ${Buffer.concat(chunks).length}`);
        return;
      }
      copies.push({
        headers,
        method,
        url,
        body: Buffer.concat(chunks).toString(),
      });
      answer(request, response);
    });
  };
}

function mirrored(
  share: object,
  name = "shadow",
  more: object[] = [],
): Resource[] {
  return [
    resource("Service", "shadow", {
      ports: [{ name: "http", port: 80 }],
      selector: { app: "orders" },
    }),
    resource("Service", "nobody", {
      ports: [{ name: "http", port: 80 }],
      selector: { app: "nobody" },
    }),
    resource("HTTPRoute", "orders", {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
      ],
      rules: [
        {
          filters: [
            {
              type: "RequestMirror",
              requestMirror: { backendRef: { name, port: 80 }, ...share },
            },
            ...more,
          ],
          backendRefs: [{ name: "orders", port: 80 }],
        },
      ],
    }),
  ];
}

function copiesOf(pair: Pair): unknown[] {
  return pair.log.filter(({ direction }) => direction === "mirror");
}

void t.test(
  "a copy is what the backend gets, marked by a field and by its Host, and its answer is seen by nobody",
  async (t) => {
    const copies: Copy[] = [];
    const more = [
      {
        type: "URLRewrite",
        urlRewrite: {
          path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/in" },
        },
      },
      {
        type: "RequestHeaderModifier",
        requestHeaderModifier: { set: [{ name: "x-of", value: "rule" }] },
      },
    ];
    await withPair(
      { app: () => keeping(copies), resources: mirrored({}, "shadow", more) },
      async (pair) => {
        const answer = await pair.call({
          method: "POST",
          path: "/a?b=c",
          host: "orders.shop:80",
          body: "the body",
          headers: { "x-mine": "1" },
        });
        t.equal(answer.text, "original of 8");
        t.equal(answer.status, 200);
        t.notOk("x-of" in answer.headers);
        await until(() => copies.length === 1);
        t.match(copies[0], {
          method: "POST",
          url: "/in/a?b=c",
          body: "the body",
          headers: {
            host: "orders.shop-shadow:80",
            "x-mirrored-from": "orders.shop:80",
            "x-mine": "1",
            "x-of": "rule",
          },
        });
        await until(() => copiesOf(pair).length === 1);
        t.match(copiesOf(pair)[0], {
          destination: "shadow.shop:80",
          status: 500,
          route: "shop/orders#0",
        });
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_requests_total",
            'direction="mirror"',
          ),
          1,
        );
      },
    );
  },
);

void t.test("a request without a body is copied too", async (t) => {
  const copies: Copy[] = [];
  await withPair(
    { app: () => keeping(copies), resources: mirrored({}) },
    async (pair) => {
      t.equal((await pair.call()).text, "original of 0");
      await until(() => copies.length === 1);
      t.match(copies[0], { method: "GET", body: "" });
    },
  );
});

void t.test("percent and fraction are shares of the requests", async (t) => {
  for (const [share, some] of [
    [{ percent: 0 }, "none"],
    [{ percent: 50 }, "some"],
    [{ fraction: { numerator: 1, denominator: 2 } }, "some"],
    [{ percent: 100 }, "all"],
  ] as const) {
    const copies: Copy[] = [];
    await withPair(
      { app: () => keeping(copies), resources: mirrored(share) },
      async (pair) => {
        for (let call = 0; call < 40; call += 1) await pair.call();
        await until(() => copiesOf(pair).length === copies.length);
        if (some === "none") t.equal(copies.length, 0);
        else if (some === "all") {
          await until(() => copies.length === 40);
          t.pass();
        } else
          t.ok(copies.length > 4 && copies.length < 36, `${copies.length}`);
      },
    );
  }
});

void t.test(
  "a shadow that fails, hangs or is not there is not felt",
  async (t) => {
    const copies: Copy[] = [];
    const hangs: RequestListener = () => undefined;
    await withPair(
      { app: () => keeping(copies, hangs), resources: mirrored({}) },
      async (pair) => {
        for (let call = 0; call < 3; call += 1)
          t.equal(
            (await pair.call({ method: "POST", body: "x" })).text,
            "original of 1",
          );
        await until(() => copies.length === 3);
        pair.apply(mirrored({}, "nobody"));
        t.equal((await pair.call()).text, "original of 0");
        await until(() => copiesOf(pair).length === 1);
        t.match(copiesOf(pair)[0], { status: 503, reason: "NO_ENDPOINT" });
      },
    );
  },
);

void t.test(
  "a backend that does not exist is left out, and the request goes on",
  async (t) => {
    const copies: Copy[] = [];
    await withPair(
      { app: () => keeping(copies), resources: mirrored({}, "missing") },
      async (pair) => {
        t.equal((await pair.call()).text, "original of 0");
        t.match(pair.callerAgent.snapshot.value?.warnings, [
          /HTTPRoute shop\/orders rule 0: nothing is copied to missing\.shop:80: no Service/,
        ]);
        t.equal(copies.length, 0);
      },
    );
  },
);

void t.test(
  "a body of more than 64 KiB is not copied, and that is counted",
  async (t) => {
    const copies: Copy[] = [];
    await withPair(
      { app: () => keeping(copies), resources: mirrored({}) },
      async (pair) => {
        const call = (length: number): Promise<unknown> =>
          pair.call({ method: "POST", body: Buffer.alloc(length) });
        t.match(await call(64 * 1024 + 1), { text: "original of 65537" });
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_mirrors_dropped_total",
            'reason="body"',
          ),
          1,
        );
        t.equal(copies.length, 0);
        t.match(await call(64 * 1024), { text: "original of 65536" });
        await until(() => copies.length === 1);
      },
    );
  },
);

void t.test(
  "a request over HTTP/2 that has not ended when its response has leaves nothing behind",
  async (t) => {
    await withPair(
      {
        app: () => (_request, response) => {
          response.statusCode = 401;
          response.end();
        },
        resources: mirrored({}),
      },
      async (pair) => {
        const { outbound } = pair.caller.ports;
        const session = connect(`http://127.0.0.1:${outbound ?? 0}`);
        t.teardown(() => session.destroy());
        const stream = session.request({
          ":method": "POST",
          ":authority": "orders.shop:80",
        });
        stream.write(Buffer.alloc(60_000));
        stream.resume();
        await once(stream, "close");
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_mirrors_dropped_total",
            'reason="broken-off"',
          ),
          1,
          "what was kept for the copy is let go of",
        );
      },
    );
  },
);

void t.test(
  "copies under way are bounded: more are dropped and counted, and requests go on",
  async (t) => {
    const copies: Copy[] = [];
    const hangs: RequestListener = () => undefined;
    await withPair(
      { app: () => keeping(copies, hangs), resources: mirrored({}) },
      async (pair) => {
        for (let batch = 0; batch < 6; batch += 1) {
          const answers = await Promise.all(
            Array.from({ length: 50 }, () => pair.call()),
          );
          t.ok(answers.every(({ text }) => text === "original of 0"));
        }
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_mirrors_dropped_total",
            'reason="busy"',
          ),
          44,
          "256 of 300 are out",
        );
      },
    );
  },
);

void t.test(
  "a copy that is not answered is given up by the clock",
  async (t) => {
    const copies: Copy[] = [];
    const hangs: RequestListener = () => undefined;
    let passes: (() => void) | undefined;
    const clock: Clock = {
      ...systemClock,
      after(ms, run) {
        if (ms !== COPY_TIMEOUT) return systemClock.after(ms, run);
        passes = run;
        return () => (passes = undefined);
      },
    };
    await withPair(
      {
        app: () => keeping(copies, hangs),
        resources: mirrored({}),
        caller: { clock },
      },
      async (pair) => {
        await pair.call();
        await until(() => copies.length === 1);
        t.equal(copiesOf(pair).length, 0);
        passes?.();
        await until(() => copiesOf(pair).length === 1);
        t.match(copiesOf(pair)[0], { status: 0, reason: "REQUEST_TIMEOUT" });
      },
    );
  },
);

void t.test(
  "a request that ends here on purpose wants no copy, one that is only late does",
  async (t) => {
    const chaos = (spec: object): Resource =>
      resource("FaultInjection", "chaos", {
        targetRefs: [{ kind: "Service", name: "orders" }],
        expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
        ...spec,
      });
    const copies: Copy[] = [];
    const hangs: RequestListener = () => undefined;
    await withPair(
      { app: () => keeping(copies, hangs), resources: mirrored({}) },
      async (pair) => {
        for (let batch = 0; batch < MOST_COPIES; batch += 64)
          await Promise.all(Array.from({ length: 64 }, () => pair.call()));
        await until(() => copies.length === MOST_COPIES);
        // From here on each copy that is wanted is counted, since there is no room for it.
        for (const [what, spec, wanted] of [
          ["abort", { abort: { httpStatus: 503, percentage: 100 } }, 0],
          ["reset", { reset: { percentage: 100 } }, 0],
          ["delay", { delay: { fixedDelay: "1ms", percentage: 100 } }, 1],
        ] as const) {
          pair.apply([...mirrored({}), chaos(spec)]);
          await pair.call().catch(() => undefined);
          t.equal(
            await pair.metric(
              pair.caller,
              "wherry_mirrors_dropped_total",
              'reason="busy"',
            ),
            wanted,
            what,
          );
        }
      },
    );
  },
);

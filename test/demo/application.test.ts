/** The demo's applications over real sockets: what they answer, what they pass on, and the trouble that they make when asked to. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import t, { type Test } from "tap";
import { request } from "undici";
import { startApplication } from "../../src/demo/application.ts";
import type { Service } from "../../src/demo/call.ts";
import { makeCallers, type Caller } from "../../src/demo/caller.ts";
import { makeChaos } from "../../src/demo/chaos.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";

const nobody: Caller = () =>
  Promise.resolve({
    status: 0,
    body: "",
    servedBy: undefined,
    reason: undefined,
  });

async function start(
  t: Test,
  service: Service,
  clock: FakeClock = fakeClock(),
  makeCaller: (headers: Readonly<Record<string, string>>) => Caller = () =>
    nobody,
): Promise<string> {
  const application = await startApplication(
    { service: "orders", instance: "orders-1", version: "v1", port: 0, clock },
    service,
    makeCaller,
  );
  t.teardown(() => application.close());
  return `http://127.0.0.1:${application.port}`;
}

interface Answered {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

async function ask(
  url: string,
  method: "GET" | "POST" = "GET",
  body?: string,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const answer = await request(url, { method, headers, body: body ?? null });
  return {
    status: answer.statusCode,
    headers: answer.headers,
    text: await answer.body.text(),
  };
}

void t.test(
  "a service gets method, path, query, body and what is accepted",
  async (t) => {
    const url = await start(t, ({ caller: _caller, query, ...rest }) => ({
      status: 201,
      body: { ...rest, query: [...query] },
    }));
    const { status, headers, text } = await ask(
      `${url}/a/b?x=1`,
      "POST",
      '{"n":1}',
      { accept: "text/html" },
    );
    t.equal(status, 201);
    t.match(headers, {
      "content-type": "application/json",
      "x-served-by": "orders-1",
    });
    t.strictSame(JSON.parse(text), {
      method: "POST",
      path: "/a/b",
      body: { n: 1 },
      accept: "text/html",
      query: [["x", "1"]],
    });
    t.match((await ask(url, "POST", "no json")).text, '"body": {}');
  },
);

void t.test("text goes out as it is, under its type", async (t) => {
  const url = await start(t, () => ({
    status: 200,
    type: "text/html",
    body: "<p>é",
  }));
  const { headers, text } = await ask(url);
  t.equal(text, "<p>é");
  t.match(headers, { "content-type": "text/html", "content-length": "5" });
});

void t.test("a body that is too large is a 413, a defect a 500", async (t) => {
  const url = await start(t, () => {
    throw new Error("broken");
  });
  const large = await ask(url, "POST", "x".repeat(200_000));
  t.equal(large.status, 413);
  const { status, text } = await ask(url);
  t.equal(status, 500);
  t.match(text, "broken");
});

void t.test("the trace context goes on, and nothing else", async (t) => {
  const seen: Readonly<Record<string, string>>[] = [];
  const url = await start(
    t,
    () => ({ status: 200, body: {} }),
    fakeClock(),
    (headers) => {
      seen.push(headers);
      return nobody;
    },
  );
  const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  await ask(url, "GET", undefined, {
    traceparent,
    tracestate: "a=b",
    cookie: "c=d",
  });
  await ask(url);
  t.strictSame(seen, [{ traceparent, tracestate: "a=b" }, {}]);
});

void t.test(
  "chaos: fails the share that was asked for, counts, and ends",
  async (t) => {
    const draws = [0.29, 0.3, 0.99];
    let drawn = 0;
    const clock = fakeClock({ random: () => draws[drawn++ % 3] ?? 0 });
    const url = await start(t, () => ({ status: 200, body: {} }), clock);
    t.equal(
      (await ask(`${url}/chaos`, "POST", '{"failPercent":30}')).status,
      200,
    );
    const statuses = [];
    for (let call = 0; call < 3; call += 1)
      statuses.push((await ask(url)).status);
    t.strictSame(statuses, [503, 200, 200]);
    t.strictSame(JSON.parse((await ask(`${url}/chaos`)).text), {
      failPercent: 30,
      delayMs: 0,
      seen: { GET: 3 },
    });
    await ask(`${url}/chaos`, "POST", "{}");
    t.equal((await ask(url)).status, 200);
  },
);

void t.test(
  "chaos: waits as long as it was told, and takes sensible numbers only",
  async (t) => {
    const clock = fakeClock({ random: () => 0.5 });
    const chaos = makeChaos(clock);
    t.equal(chaos.set({ delayMs: 200 }).status, 200);
    let struck: boolean | undefined;
    const striking = chaos.strikes("GET").then((result) => (struck = result));
    clock.advance(199);
    await Promise.resolve();
    t.equal(struck, undefined);
    clock.advance(1);
    t.equal(await striking, false);
    for (const body of [
      { failPercent: -1 },
      { failPercent: 101 },
      { failPercent: "30" },
      { delayMs: 60_001 },
      { delayMs: -1 },
    ])
      t.equal(chaos.set(body).status, 400, JSON.stringify(body));
    t.match(chaos.state(), { delayMs: 200 }, "nothing was changed");
    for (const body of [undefined, null, "x", []])
      t.equal(chaos.set(body).status, 200);
    t.match(chaos.state(), { failPercent: 0, delayMs: 0 });
  },
);

void t.test(
  "a caller speaks to its sidecar in the service's name",
  async (t) => {
    const seen: object[] = [];
    const sidecar = createServer((incoming, response) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => void chunks.push(chunk));
      incoming.on("end", () => {
        const { host, traceparent } = incoming.headers;
        const body = Buffer.concat(chunks).toString();
        seen.push([incoming.method, host, incoming.url, traceparent, body]);
        if (incoming.url === "/dies") response.destroy();
        else if (incoming.url === "/cut") {
          response.writeHead(200, { "content-length": 10 });
          response.write("abc", () => response.destroy());
        } else if (incoming.url === "/refused")
          response
            .writeHead(403, { "x-wherry-reason": "DENIED; policy=shop/p" })
            .end("DENIED: no");
        else
          response.writeHead(200, { "x-served-by": "orders-2" }).end('{"n":1}');
      });
    });
    await new Promise<void>((resolve) =>
      sidecar.listen(0, "127.0.0.1", () => resolve()),
    );
    const { port } = sidecar.address() as AddressInfo;
    const callers = makeCallers({ outboundPort: port });
    t.teardown(() => {
      callers.close();
      sidecar.closeAllConnections();
      sidecar.close();
    });
    const call = callers.bind({ traceparent: "tp" });
    t.strictSame(
      await call("orders.shop", "/orders", { method: "POST", body: { a: 1 } }),
      { status: 200, body: { n: 1 }, servedBy: "orders-2", reason: undefined },
    );
    t.strictSame(await call("orders.shop", "/refused"), {
      status: 403,
      body: "DENIED: no",
      servedBy: undefined,
      reason: "DENIED; policy=shop/p",
    });
    t.match(await call("orders.shop", "/dies"), {
      status: 0,
      body: /hang up|ECONNRESET/,
    });
    t.match(await call("orders.shop", "/cut"), { status: 0, body: "aborted" });
    t.strictSame(seen.slice(0, 2), [
      ["POST", "orders.shop", "/orders", "tp", '{"a":1}'],
      ["GET", "orders.shop", "/refused", "tp", ""],
    ]);
    const unreachable = makeCallers({ outboundPort: 1 });
    t.match(await unreachable.bind({})("orders.shop", "/"), {
      status: 0,
      body: /ECONNREFUSED/,
    });
    unreachable.close();
  },
);

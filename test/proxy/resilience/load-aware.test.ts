// Load-aware balancing between sidecars: what crosses the link, who is believed, and what it costs where nobody asks.
import type { RequestListener, ServerResponse } from "node:http";
import t from "tap";
import {
  resource,
  send,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

const LOAD_AWARE = resource("TrafficPolicy", "orders", {
  targetRefs: [{ kind: "Service", name: "orders" }],
  loadBalancer: { simple: "LOAD_AWARE" },
});

interface EndpointView {
  readonly key: string;
  readonly active: number;
  readonly reported?: {
    readonly inFlight: number;
    readonly latencyMs: number;
    readonly ageMs: number;
  };
}

async function endpointsOf({ caller }: Pair): Promise<readonly EndpointView[]> {
  const { text } = await send(caller.ports.admin ?? 0, {
    path: "/clusters",
    host: "127.0.0.1",
  });
  const { clusters } = JSON.parse(text) as {
    clusters: { endpoints: EndpointView[] }[];
  };
  return clusters[0]?.endpoints ?? [];
}

void t.test(
  "an answer over the link says how busy the endpoint is, to the caller's sidecar alone",
  async (t) => {
    const asked: (string | string[] | undefined)[] = [];
    const served = [0, 0];
    const app =
      (index: number): RequestListener =>
      (request, response) => {
        served[index] = (served[index] ?? 0) + 1;
        asked.push(request.headers["x-wherry-load"]);
        response.end("ok");
      };
    await withPair(
      { app, instances: 2, resources: [LOAD_AWARE] },
      async (pair) => {
        // One that has reported may get all of the first calls, and the other reports once it is asked.
        while (served.some((count) => count === 0) || asked.length < 20) {
          const { status, headers } = await pair.call();
          t.equal(status, 200);
          t.equal(headers["x-wherry-load"], undefined);
        }
        t.strictSame(new Set(asked), new Set([undefined]));
        let endpoints = await endpointsOf(pair);
        // One that was asked once has answered before its latency was known: a notice tells of that.
        while (
          endpoints.some(({ reported }) => !((reported?.latencyMs ?? 0) > 0))
        )
          endpoints = await endpointsOf(pair);
        t.equal(endpoints.length, 2);
        for (const { reported } of endpoints) {
          t.equal(reported?.inFlight, 0);
          t.ok((reported?.latencyMs ?? 0) > 0);
        }
      },
    );
  },
);

void t.test(
  "a busy endpoint that answers nobody is heard of by notices, and avoided",
  async (t) => {
    const held: ServerResponse[] = [];
    const served = [0, 0];
    const app = (index: number): RequestListener => {
      return (request, response) => {
        if (request.url === "/held") held.push(response);
        else {
          served[index] = (served[index] ?? 0) + 1;
          response.end("ok");
        }
      };
    };
    await withPair(
      {
        app,
        instances: 2,
        calleePublish: true,
        resources: [
          LOAD_AWARE,
          resource("PeerAuthentication", "default", {
            mtls: { mode: "PERMISSIVE" },
          }),
        ],
      },
      async (pair) => {
        // Both have been asked, so both report.
        while (served.some((count) => count === 0)) await pair.call();
        const before = [...served];
        const busy = pair.instances[0];
        if (busy?.sidecar === undefined) throw new Error("there is no callee");
        // Another caller keeps the first instance busy; ours hears of it by its notices alone.
        const direct = Array.from({ length: 5 }, () =>
          send(busy.sidecar?.ports.published.get(busy.appPort) ?? 0, {
            path: "/held",
          }),
        );
        await until(() => held.length === 5);
        for (;;) {
          const [first] = await endpointsOf(pair);
          if ((first?.reported?.inFlight ?? 0) >= 5) break;
        }
        for (let index = 0; index < 30; index += 1) await pair.call();
        const [atBusy = 0] = served;
        t.ok(atBusy - (before[0] ?? 0) <= 5, "exploration at most");
        for (const response of held) response.end();
        await Promise.all(direct);
      },
    );
  },
);

void t.test("who is not on the link is not believed", async (t) => {
  const app: RequestListener = (_request, response) => {
    response.setHeader("x-wherry-load", "7,1,0");
    response.end("ok");
  };
  for (const plaintext of [true, false])
    await withPair(
      { app: () => app, plaintext, resources: [LOAD_AWARE] },
      async (pair) => {
        const { headers } = await pair.call();
        t.equal(headers["x-wherry-load"], undefined);
        const [endpoint] = await endpointsOf(pair);
        if (plaintext) t.equal(endpoint?.reported, undefined);
        else
          t.equal(
            endpoint?.reported?.inFlight,
            0,
            "its sidecar's word, not the application's",
          );
      },
    );
});

void t.test("a caller that does not ask is told nothing", async (t) => {
  await withPair({}, async (pair) => {
    await pair.call();
    const [endpoint] = await endpointsOf(pair);
    t.equal(endpoint?.reported, undefined);
    t.equal(endpoint?.active, 0);
  });
});

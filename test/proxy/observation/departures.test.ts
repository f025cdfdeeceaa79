/** What a sidecar remembers of calls that leave the mesh: the place, the verdict and the Service, each with a count, bounded. */
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import t from "tap";
import {
  Departures,
  type Departure,
} from "../../../src/proxy/observation/departures.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  listening,
  resource,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

const call: Departure = {
  ...{ verdict: "passed", service: "", host: "a.example", port: 80, name: "" },
};

void t.test(
  "places are counted; what finds no room is counted together",
  (t) => {
    const departures = new Departures();
    for (let index = 0; index < 600; index += 1)
      departures.add({ ...call, host: `h${index}.example` });
    const long = "x".repeat(254);
    departures.add({ ...call, host: "h0.example" });
    departures.add({ ...call, verdict: "refused", host: long });
    departures.add({ ...call, verdict: "refused", name: long });
    departures.add({ ...call, verdict: "external", service: "shop/a" });
    const { calls, dropped } = departures.drain();
    t.equal(dropped, 0);
    t.equal(calls.length, 512 + 3);
    t.equal(calls[0]?.count, 2);
    t.strictSame(
      calls
        .filter(({ host }) => host === "")
        .map(({ verdict, service, port, count }) => [
          verdict,
          service,
          port,
          count,
        ]),
      [
        ["passed", "", 0, 88],
        ["refused", "", 0, 2],
        ["external", "shop/a", 0, 1],
      ],
    );
    t.strictSame(departures.drain().calls, [], "it begins anew");
    t.end();
  },
);

function external(port: number, more: object = {}): Resource {
  return resource("Service", "api", {
    location: "MESH_EXTERNAL",
    hosts: ["api.example.test"],
    resolution: "STATIC",
    endpoints: [{ address: "127.0.0.1" }],
    ports: [{ name: "web", port: 80, targetPort: port, appProtocol: "http" }],
    ...more,
  });
}

function toApi(filters: readonly object[], backend: string): Resource {
  return resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [{ filters, backendRefs: [{ name: backend, port: 80 }] }],
  });
}

/** What left with these calls, as "VERDICT SERVICE HOST:PORT COUNT". */
async function left(
  pair: Pair,
  run: () => Promise<unknown>,
): Promise<string[]> {
  pair.callerAgent.departures();
  await run();
  return pair.callerAgent
    .departures()
    .map(
      ({ verdict, service, host, port, count }) =>
        `${verdict} ${service} ${host}:${port} ${count}`,
    );
}

void t.test("what goes out, what would, and what stays inside", async (t) => {
  const server = createServer((_request, response) => response.end("ok"));
  const port = await listening(server);
  t.teardown(() => server.close());
  const place = `127.0.0.1:${port}`;
  const host = "api.example.test";
  await withPair({ resources: [external(port)] }, async (pair) => {
    const ask = (to: string) => pair.call({ host: to });
    const expect = async (
      title: string,
      run: () => Promise<unknown>,
      expected: readonly string[],
    ): Promise<void> => {
      t.strictSame(await left(pair, run), expected, title);
    };

    await expect("a Service of the mesh", () => ask("orders.shop"), []);
    await expect(
      "an external Service",
      async () => [await ask(host), await ask(host)],
      [`external shop/api ${host}:80 2`],
    );
    await expect("a place that is no Service", () => ask(place), [
      `passed  ${place} 1`,
    ]);
    await expect("a Host that is none", () => ask("a b"), []);
    await expect(
      "a tunnel",
      async () => {
        const tunnel = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
        tunnel.write(`CONNECT ${place} HTTP/1.1\r\nhost: ${place}\r\n\r\n`);
        await once(tunnel, "data");
        tunnel.end();
        await once(tunnel, "close");
      },
      [`passed  ${place} 1`],
    );

    pair.apply([external(port), toApi([], "api")]);
    await expect("a route leads outside", () => ask("orders.shop"), [
      "external shop/api orders.shop:80 1",
    ]);
    const redirect = {
      type: "RequestRedirect",
      requestRedirect: { hostname: host },
    };
    pair.apply([
      external(port),
      resource("HTTPRoute", "orders", {
        parentRefs: [
          { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
        ],
        rules: [{ filters: [redirect] }],
      }),
    ]);
    await expect("answered by the route itself", () => ask("orders.shop"), []);
    const mirror = {
      type: "RequestMirror",
      requestMirror: { backendRef: { name: "api", port: 80 } },
    };
    pair.apply([external(port), toApi([mirror], "orders")]);
    await expect("a copy", () => ask("orders.shop"), [
      "external shop/api orders.shop:80 1",
    ]);

    pair.apply([
      external(port),
      resource("Mesh", "default", {
        outboundTrafficPolicy: "REGISTRY_ONLY",
        authorization: { defaultAction: "ALLOW" },
      }),
    ]);
    await expect(
      "REGISTRY_ONLY",
      async () => [await ask("other.example"), await ask(host)],
      ["refused  other.example:80 1", `external shop/api ${host}:80 1`],
    );
  });
});

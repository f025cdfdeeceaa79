/** A request whose query is full of parameters, at a route that has many conditions on the query: it costs the sidecar little, and nobody else waits. */
import { connect } from "node:net";
import t from "tap";
import { closeCalls } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

const CONDITIONS = 64;
/** Nearly all that a request line may have. */
const PARAMETERS = 8000;
/** Times what one condition costs, if the query is read once for all of them. */
const MOST = 3;
/** Times what the same bytes cost where nothing asks for the query. */
const MOST_UNREAD = 20;

/** A Service whose route has a rule with `matches`. */
const routed = (name: string, matches: readonly string[]): string => `
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  selector: { app: ${name} }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: shop }
spec:
  parentRefs: [{ group: mesh.wherry.dev, kind: Service, name: ${name}, port: 80 }]
  rules:
    - matches: [${matches.join(", ")}]
      filters:
        - type: RequestRedirect
          requestRedirect: { hostname: elsewhere.example, statusCode: 302 }
`;

const conditions = Array.from(
  { length: CONDITIONS },
  (_each, index) => `{ queryParams: [{ name: p${index}, value: "1" }] }`,
);
const sidecar = await startLoneSidecar(
  (_request, response) => response.end("ok"),
  [],
  () =>
    routed("many", conditions) +
    routed("one", conditions.slice(0, 1)) +
    routed("none", ["{ path: { value: /elsewhere } }"]),
);
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

function ask(query: string, service: string): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(sidecar.outbound, "127.0.0.1", () =>
      socket.write(
        `GET /?${query} HTTP/1.1\r\nHost: ${service}.shop\r\nConnection: close\r\n\r\n`,
      ),
    );
    socket.on("data", (chunk: Buffer) => (received += chunk.toString()));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(received.split("\r\n")[0] ?? ""));
  });
}

for (const [what, parameter] of [
  ["without a value", "a&"],
  ["with a value", "a=&"],
  ["that are escaped", "%61&"],
  ["that are no UTF-8", "%ff&"],
] as const)
  void t.test(`${PARAMETERS * 2} bytes of parameters ${what}`, async (t) => {
    const query = parameter.repeat((PARAMETERS * 2) / parameter.length);
    const least = { many: Infinity, one: Infinity, none: Infinity };
    for (const service of ["many", "one", "none"])
      t.match(await ask(query, service), /^HTTP\/1\.1 404 /);
    for (let run = 0; run < 10; run += 1)
      // In turn: what slows the machine down slows all of them down.
      for (const service of ["many", "one", "none"] as const) {
        const before = sidecar.loopCpu();
        await ask(query, service);
        const cost = sidecar.loopCpu() - before;
        least[service] = Math.min(least[service], cost);
      }
    const { many, one, none } = least;
    const costs = `ms of CPU: ${many.toFixed(1)} with ${CONDITIONS} conditions, ${one.toFixed(1)} with one, ${none.toFixed(1)} without`;
    t.ok(many < MOST * one, costs);
    t.ok(many < MOST_UNREAD * none, costs);
    t.match(
      await ask(`${query}p63=1`, "many"),
      /^HTTP\/1\.1 302 /,
      "it still matches",
    );
  });

/** A request whose query is full of parameters without a value, at a route that has many conditions on the query: it costs the sidecar little, and nobody else waits. */
import { connect } from "node:net";
import t from "tap";
import { closeCalls } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

const CONDITIONS = 64;
/** Nearly all that a request line may have. */
const PARAMETERS = 8000;
/** Milliseconds of CPU: reading the query once takes about one. */
const BOUND = 10;

const matches = Array.from(
  { length: CONDITIONS },
  (_each, index) => `{ queryParams: [{ name: p${index}, value: "1" }] }`,
);
const sidecar = await startLoneSidecar(
  (_request, response) => response.end("ok"),
  [],
  () => `
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  selector: { app: web }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: mesh.wherry.dev, kind: Service, name: web, port: 80 }]
  rules:
    - matches: [${matches.join(", ")}]
      filters:
        - type: RequestRedirect
          requestRedirect: { hostname: elsewhere.example, statusCode: 302 }
`,
);
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

function ask(query: string): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(sidecar.outbound, "127.0.0.1", () =>
      socket.write(
        `GET /?${query} HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n`,
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
    t.match(await ask(query), /^HTTP\/1\.1 404 /);
    let least = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 10; run += 1) {
      const before = sidecar.loopCpu();
      await ask(query);
      least = Math.min(least, sidecar.loopCpu() - before);
    }
    t.ok(least < BOUND, `${least.toFixed(1)} ms of CPU`);
    t.match(await ask(`${query}p63=1`), /^HTTP\/1\.1 302 /, "it still matches");
  });

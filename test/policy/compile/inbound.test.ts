/** Which ports of the own workload take bytes that nobody parses (law 14). */
import t from "tap";
import type { AppProtocol } from "../../../src/resources/service/schema.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import {
  mesh,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const own = self({
  name: "orders-1",
  labels: { app: "orders" },
  ports: { http: 8080, other: 9090 },
});

function named(
  name: string,
  appProtocol: AppProtocol | undefined,
  targetPort: number,
): ReturnType<typeof service> {
  const port = { name: "p", port: 80, targetPort };
  return service(`shop/${name}`, {
    ports: [appProtocol === undefined ? port : { ...port, appProtocol }],
    selector: { app: "orders" },
  });
}

type Said = readonly (AppProtocol | undefined)[];

void t.test(
  "a port takes bytes where every Service that leads to it says so",
  (t) => {
    const rows: readonly (readonly [Said, boolean])[] = [
      [["tcp"], true],
      [["tls"], true],
      [["tcp", "tls"], true],
      [["http"], false],
      [["http2"], false],
      [["grpc"], false],
      [[undefined], false],
      [["tcp", "http"], false],
      [["http", "tcp"], false],
      [["tls", "grpc"], false],
      [["tcp", undefined], false],
      [[], false],
    ];
    for (const [said, expected] of rows) {
      const snapshot = compileSnapshot(
        [
          mesh({}),
          ...said.map((protocol, index) => named(`s${index}`, protocol, 8080)),
          // Another port of the application says nothing of this one.
          named("elsewhere", expected ? "http" : "tcp", 9090),
        ],
        own,
        VERSION,
      );
      const what = said.map((each) => each ?? "nothing").join(" and ");
      t.equal(snapshot.inbound.byPort(8080)?.takesBytes, expected, what);
      for (const index of said.keys())
        t.equal(
          snapshot.inbound.resolve(`s${index}.shop:80`)?.takesBytes,
          expected,
          `${what}: by the name of Service ${index}`,
        );
      const contradicts = said.some((each) => each === "tcp" || each === "tls");
      t.equal(
        snapshot.warnings.some((warning) => /takes HTTP/.test(warning)),
        contradicts && !expected,
        `${what}: a warning where two contradict each other`,
      );
    }
    t.end();
  },
);

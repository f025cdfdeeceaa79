/** An application leaves REGISTRY_ONLY by calling any address at the link's port, which the packet rules left alone for everybody. */
import t from "tap";
import { PROXY, WHERRY } from "../../../support/meshes/captured-mesh.ts";
import {
  makeNetwork,
  whyNoHosts,
  type Host,
} from "../../../support/meshes/hosts.ts";
import { needs } from "../../../support/processes/tools.ts";

const LINK = 15008;
const SIDECAR = 15001;

/** Says a word to whoever connects. */
const server = (port: number, word: string): string[] => [
  process.execPath,
  ...[
    "-e",
    `require("node:net").createServer((socket) => socket.on("error", () => {}).end("${word}")).listen(${port}, "::", () => console.log("listens"));`,
  ],
];

/** What is heard at an address, as the stated user. */
async function heard(
  from: Host,
  address: string,
  port: number,
  uid: number,
): Promise<string> {
  const { stdout, stderr } = await from.run(
    [
      process.execPath,
      ...[
        "-e",
        `require("node:net").connect(${port}, "${address}").on("error", (error) => console.log(error.code)).pipe(process.stdout);`,
      ],
    ],
    { uid },
  );
  return (stdout + stderr).trim();
}

const missing = whyNoHosts();

void t.test(
  "a call to the link's port is captured, unless it is the sidecar's own",
  { ...needs(missing === undefined ? [] : [missing]) },
  async (t) => {
    const network = makeNetwork(["app", "outside"]);
    try {
      const app = network.hosts.get("app");
      const outside = network.hosts.get("outside");
      if (app === undefined || outside === undefined)
        throw new Error("there are no hosts");
      const rules = await app.run([...WHERRY, "intercept"]);
      t.equal(rules.code, 0, rules.stderr);
      await Promise.all([
        outside.start(server(LINK, "outside")).prints("listens"),
        app
          .start(server(SIDECAR, "captured"), { uid: PROXY })
          .prints("listens"),
      ]);
      for (const address of [outside.ipv4, outside.ipv6]) {
        t.equal(
          await heard(app, address, LINK, 0),
          "captured",
          `${address}: an application`,
        );
        t.equal(
          await heard(app, address, LINK, PROXY),
          "outside",
          `${address}: the sidecar`,
        );
      }
    } finally {
      await network.close();
    }
  },
);

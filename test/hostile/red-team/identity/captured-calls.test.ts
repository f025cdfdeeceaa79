/** A workload registers the address of a server outside the mesh: captured calls to that server go on going there, with their bearer token (law 13). */
import t from "tap";
import {
  startCapturedMesh,
  type CapturedMesh,
} from "../../../support/meshes/captured-mesh.ts";
import { ROOT } from "../../../support/processes/demo.ts";
import { whyNoHosts } from "../../../support/meshes/hosts.ts";

const CALLS = 6;

/** Enrols a second instance with the token, and registers an address for it. Prints "registered", or why not. */
const THIEF = `
const [root, address, token, claimed] = process.argv.slice(1);
const load = (file) => import(root + "/src/" + file);
const { enrol } = await load("agent/enrolment/enrol.ts");
const { call, openClient } = await load("agent/connection.ts");
const { systemClock: clock } = await load("core/clock.ts");
const { REGISTRATION } = await load("push/services.ts");
const { signal } = new AbortController();
const credentials = await enrol({ address, token, name: "callee-2", clock, signal });
const client = openClient({ address, trustBundle: credentials.trustBundle, credentials, maxMessageBytes: -1, clock });
const spec = JSON.stringify({ address: claimed, ports: { http: 8080 }, link: { port: 15008 }, ttl: "60s", ready: true });
const said = await call(client, REGISTRATION.Register, { spec }, { clock, timeout: 5000, signal })
  .then(() => "registered", (thrown) => thrown.message);
process.stdout.write(said);
process.exit();
`;

/** Who answers a captured call of the caller's application to the server outside. */
async function answeredBy({ caller, outside }: CapturedMesh): Promise<string> {
  const { stdout } = await caller.run([
    ...["curl", "-s", "-D", "-", "-o", "/dev/null", "--noproxy", "*"],
    ...["--max-time", "5", "-H", "authorization: Bearer of-a-caller"],
    `http://${outside.ipv4}:8080/private`,
  ]);
  return /^x-answered-by: (\S+)/im.exec(stdout)?.[1] ?? stdout;
}

const missing = whyNoHosts();
void t.test(
  "an address outside the mesh cannot be claimed",
  { timeout: 120_000, ...(missing === undefined ? {} : { skip: missing }) },
  async (t) => {
    const mesh = await startCapturedMesh();
    t.after(() => mesh.close());
    t.equal(await answeredBy(mesh), "outside");
    const token = await mesh.cli([
      ...["token", "create", "-n", "shop", "--service-account", "callee"],
      ...["--label", "app=callee", "--uses", "1", "--ttl", "10m"],
    ]);
    const { stdout, stderr } = await mesh.callee.run(
      [
        ...[process.execPath, "--input-type=module", "-e", THIEF],
        ...[ROOT, mesh.push, token.trim(), mesh.outside.ipv4],
      ],
      { uid: 0 },
    );
    t.match(stdout, /not the address that this sidecar calls from/, stderr);
    // Where it was registered all the same, the caller's sidecar hears of it within this time.
    if (stdout === "registered")
      for (let turn = 0; turn < 50; turn += 1)
        if ((await answeredBy(mesh)) !== "outside") break;
    const answers: string[] = [];
    for (let count = 0; count < CALLS; count += 1)
      answers.push(await answeredBy(mesh));
    t.same(
      answers,
      Array.from({ length: CALLS }, () => "outside"),
    );
    t.same(
      mesh.callee.requests().filter((line) => line.includes("/private")),
      [],
      "the thief's application saw no request",
    );
  },
);

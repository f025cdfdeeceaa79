/** The conformance suite of WebSocket (Autobahn): no case ends otherwise through two sidecars than without them, whichever side is tested. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import t, { type Test } from "tap";
import { freePort } from "../../../src/demo/free-port.ts";
import { withPair } from "../../support/meshes/pair.ts";
import { relayTo } from "../../support/peers/tcp-relay.ts";
import {
  ALL_CASES,
  AUTOBAHN_MISSING,
  beFuzzed,
  fuzz,
  hostOfServer,
  resultsOf,
  startFuzzer,
  startRepeater,
} from "../../support/processes/autobahn.ts";
import { needs } from "../../support/processes/tools.ts";

const SERVICE = "orders.shop:80";
const CASES = 247;
/** The suite gives a peer a second in many cases, of which a loaded machine may take more: what ends otherwise is run again. */
const ROUNDS = 5;
const OPTIONS = { timeout: 600_000, ...needs(AUTOBAHN_MISSING) };

/** Runs cases without the mesh and through it, and leaves the suite's reports in `directory`. */
type Run = (directory: string, cases: readonly string[]) => Promise<void>;

/** Runs `use` with a port of the caller's sidecar that leads to `port` through both. */
async function throughMesh(
  port: number,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const caller = { upstream: [{ port: 0, to: SERVICE }] };
  await withPair(
    { rawApp: () => relayTo(port, () => hostOfServer(port)), caller },
    async ({ caller, log }) => {
      await use(caller.ports.upstreams.get(SERVICE) ?? 0);
      if (log.every(({ status }) => status !== 101))
        throw new Error("nothing went through the mesh");
    },
  );
}

async function compare(t: Test, run: Run): Promise<void> {
  let cases = ALL_CASES;
  for (let round = 1; cases.length > 0; round += 1) {
    const directory = await mkdtemp(join(tmpdir(), "wherry-autobahn-"));
    await run(directory, cases);
    const direct = await resultsOf("direct", directory);
    const mesh = await resultsOf("mesh", directory);
    await rm(directory, { recursive: true });
    if (round === 1) t.ok(direct.size >= CASES, `${direct.size} cases`);
    t.same([...mesh.keys()], [...direct.keys()], "the same cases");
    const differing = [...direct].filter(
      ([id, result]) =>
        result["behavior"] === "FAILED" ||
        !isDeepStrictEqual(mesh.get(id), result),
    );
    cases = differing.map(([id]) => id);
    if (round === ROUNDS)
      for (const [id, result] of differing)
        t.same(mesh.get(id), result, `${id} through two sidecars`);
    if (round === ROUNDS) return;
    if (cases.length > 0) t.comment(`run again: ${cases.join(" ")}`);
  }
}

void t.test("a server in the mesh", OPTIONS, async (t) => {
  const server = await startRepeater(await freePort());
  t.teardown(() => server.stop());
  await throughMesh(server.port, (mesh) =>
    compare(t, (directory, cases) =>
      fuzz({ direct: server.port, mesh }, directory, cases),
    ),
  );
});

void t.test("a client in the mesh", OPTIONS, async (t) => {
  const port = await freePort();
  await throughMesh(port, (mesh) =>
    compare(t, async (directory, cases) => {
      const fuzzer = await startFuzzer(port, directory, cases);
      await Promise.all([beFuzzed("direct", port), beFuzzed("mesh", mesh)]);
      await fuzzer.stop();
    }),
  );
});

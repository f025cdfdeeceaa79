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
/**
 * The suite gives a peer half a second or a second in many cases, of which a loaded machine may take more: what ends otherwise is run again,
 * and each time the suite waits twice as long.
 */
const ROUNDS = 5;
const OPTIONS = { timeout: 600_000, ...needs(AUTOBAHN_MISSING) };

/** Runs cases without the mesh and through it, and leaves the suite's reports in `directory`. */
type Run = (
  directory: string,
  cases: readonly string[],
  patience: number,
) => Promise<void>;

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
    await run(directory, cases, 2 ** (round - 1));
    const direct = await resultsOf("direct", directory);
    const mesh = await resultsOf("mesh", directory);
    await rm(directory, { recursive: true });
    const ran = round === 1 ? [...direct.keys(), ...mesh.keys()] : cases;
    const ids = [...new Set(ran)];
    if (round === 1) t.ok(ids.length >= CASES, `${ids.length} cases`);
    // One that is missing ended behind the request for the reports, which came on another connection.
    cases = ids.filter((id) => {
      const result = direct.get(id);
      return (
        result === undefined ||
        result["behavior"] === "FAILED" ||
        !isDeepStrictEqual(mesh.get(id), result)
      );
    });
    if (round === ROUNDS)
      for (const id of cases) {
        t.ok(direct.has(id), `${id} without the mesh`);
        t.same(mesh.get(id), direct.get(id), `${id} through two sidecars`);
      }
    if (round === ROUNDS) return;
    if (cases.length > 0) t.comment(`run again: ${cases.join(" ")}`);
  }
}

void t.test("a server in the mesh", OPTIONS, async (t) => {
  const port = await freePort();
  await throughMesh(port, (mesh) =>
    compare(t, async (directory, cases, patience) => {
      const server = await startRepeater(port, patience);
      try {
        await fuzz({ direct: port, mesh }, directory, cases, patience);
      } finally {
        await server.stop();
      }
    }),
  );
});

void t.test("a client in the mesh", OPTIONS, async (t) => {
  const port = await freePort();
  await throughMesh(port, (mesh) =>
    compare(t, async (directory, cases, patience) => {
      const fuzzer = await startFuzzer(port, directory, cases, patience);
      await Promise.all([
        beFuzzed("direct", port, patience),
        beFuzzed("mesh", mesh, patience),
      ]);
      await fuzzer.stop();
    }),
  );
});

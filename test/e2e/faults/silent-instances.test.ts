// Law 3 and its price: one of two instances falls silent without a word, and comes back. Nothing hangs, and the link costs next to nobody a failure.
import { execFile } from "node:child_process";
import { join } from "node:path";
import t, { type Test } from "tap";
import { cleanEnvironment, ROOT } from "../../support/processes/demo.ts";
import { makeNetwork, whyNoHosts } from "../../support/meshes/hosts.ts";
import type {
  Fault,
  Methods,
  SilentCall,
  SilentRun,
} from "../../support/faults/silent-instance.ts";

/** Besides what is in flight when the instance falls silent: the few that follow before anybody can know may be lost. */
const MOST_FAILED = 3;
/** Failed calls that a message names. */
const SHOWN = 5;
/** Milliseconds after which the link is known to be dead. */
const KNOWN = 3000;

const PROGRAM = join(ROOT, "test", "support", "faults", "silent-instance.ts");

function runHere(fault: Fault, methods: Methods): Promise<string[]> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [PROGRAM, fault, methods],
      { cwd: ROOT, env: cleanEnvironment(), maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) =>
        error === null
          ? resolve(stdout.split("\n"))
          : reject(new Error(stderr)),
    );
  });
}

function judge(t: Test, printed: readonly string[]): void {
  const run = JSON.parse(printed[1] ?? "") as SilentRun;
  const failed = run.calls.filter(({ status }) => status !== 200);
  const told = ({ method, at, status, reason, text }: SilentCall): string =>
    `${method} at ${Math.round(at)} ms: ${status} ${reason} ${text}`;
  t.ok(run.calls.length > 2000, `${run.calls.length} calls`);
  t.ok(
    failed.length <= MOST_FAILED + run.inFlight,
    `${failed.length} failed, ${run.inFlight} were in flight: ${failed.slice(0, SHOWN).map(told).join("; ")}`,
  );
  t.same(
    failed.filter(({ at }) => at > KNOWN).map(told),
    [],
    "none once the silence is known, and none when the instance is back",
  );
  t.same(
    failed.filter(({ method }) => method === "GET").map(told),
    [],
    "what may be repeated goes elsewhere",
  );
  t.same(run.twice, [], "no order is executed twice");
  t.match(
    run.ejections[0],
    {
      endpoint: "shop/orders-1:80",
      // Whichever comes first: no acknowledgement of a PING, or no response to a request of our own.
      reason: /^(?:silent-link|stalled)$/,
      evidence:
        /^(?:silent for .* )?no acknowledgement of a PING within 1 s$|no response to a request of our own/,
    },
    "and it is ejected, with what was seen",
  );
}

// GET and POST alone: `npm run bench -- faults black-hole`.
void t.test("the sidecar of an instance stops: mixed", async (t) => {
  judge(t, await runHere("stop", "mixed"));
});

const skip = whyNoHosts() ?? false;
void t.test(
  "the packets of an instance are dropped: mixed",
  { skip },
  async (t) => {
    const network = makeNetwork(["alone"]);
    t.teardown(() => network.close());
    const host = network.hosts.get("alone");
    if (host === undefined) throw new Error("there is no host");
    const program = host.start([process.execPath, PROGRAM, "drop", "mixed"]);
    await program.prints("started");
    await program.prints("done");
    judge(t, program.lines);
  },
);

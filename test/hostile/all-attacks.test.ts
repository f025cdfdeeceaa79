/** All attacks at once at a sidecar process of 256 MiB, 500 connections each: every good call is answered, memory stays, and service comes back. */
import { availableParallelism } from "node:os";
import t from "tap";
import { closeCalls, eventually } from "../support/peers/call.ts";
import { warmUp } from "../support/hostile/good-caller.ts";
import { startLoneSidecar } from "../support/processes/lone-sidecar.ts";
import { ATTACKS, besiege } from "../support/hostile/under-attack.ts";

const MIB = 1_048_576;
const CONNECTIONS = 500;
/** What the sidecar is told that it may use. */
const MOST = 256 * MIB;

/** More than a stream's window and queue. */
const LARGE = Buffer.alloc(MIB / 16);
const sidecar = await startLoneSidecar(
  (request, response) => {
    request.on("error", () => undefined);
    request.resume();
    request.on("end", () =>
      response.end(request.url === "/large" ? LARGE : "ok"),
    );
  },
  ["--max-memory", "256"],
);
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});
await warmUp(sidecar);

/** The limit that ends each, as the metric calls it; what is slow or silent is ended by time. */
const LIMITS: readonly string[] = [
  "resets",
  "header_list",
  "field_block",
  "pings",
  "settings",
  "tiny_data",
  "tiny_chunks",
];

void t.test(
  `${ATTACKS.length} attacks of ${CONNECTIONS} connections each`,
  { timeout: 120_000 },
  async (t) => {
    const siege = await besiege(sidecar, {
      connections: CONNECTIONS,
      windows: 6,
    });
    const { quiet, during, after, resident, cpu, recovery } = siege;
    t.comment(
      `p99 ${during.p99.join(", ")} ms, quiet ${[...quiet.p99, ...after.p99].join(", ")}; service was back after ${recovery} ms; ` +
        `${Math.round(cpu * 100)} % of a core, of ${availableParallelism()}; ` +
        `resident ${resident.before / MIB}, at most ${resident.most / MIB}, afterwards ${resident.after / MIB} MiB; ` +
        `${siege.ended} connections ended`,
    );
    t.same(during.failures, [], "all good calls are answered");
    t.ok(during.answered > 0);
    t.same(after.failures, []);
    t.ok(
      resident.most < MOST,
      `at most ${resident.most / MIB} MiB are resident`,
    );
    for (const limit of LIMITS)
      t.ok(
        (await sidecar.metric(
          "wherry_limits_total",
          'listener="published"',
          `limit="${limit}"`,
        )) > 0,
        `${limit} was counted`,
      );
    t.ok(
      (await sidecar.metric(
        "wherry_refusals_total",
        'reason="source turned away"',
      )) > 0,
      "who came back was turned away",
    );
    await eventually(
      "nothing is left of the attackers",
      15_000,
      () => sidecar.metric("wherry_active_requests", 'direction="inbound"'),
      (active) => active === 0,
    );
  },
);

/** Sidecars that are replaced in place under captured calls: of each protocol, by address and by name, on new connections and on those that last. */
import type { Test } from "tap";
import { eventually } from "../peers/call.ts";
import { STEADY_CALLS } from "./captured-steady-calls.ts";
import type { CapturedMesh } from "./captured-mesh.ts";
import { NAME_SERVERS } from "./captured-names.ts";
import type { Daemon } from "./hosts.ts";

/** Rounds of all sorts that a step is given. */
const ROUNDS = 10;

/** `grpcPort`: of an application that takes calls of gRPC's interoperability suite; undefined: there is none. */
export async function takeOverCaptured(
  t: Test,
  { caller, callee }: CapturedMesh,
  grpcPort: number | undefined,
): Promise<void> {
  const calls = caller.start([
    ...[process.execPath, "--input-type=module", "-e", STEADY_CALLS],
    ...[callee.ipv4, NAME_SERVERS.join(), String(grpcPort ?? "")],
  ]);
  await more(calls);
  const hosts = [callee, caller];
  const replaced = hosts.map((host) => host.sidecar);
  await Promise.all(hosts.map((host) => host.takeOver()));
  await more(calls);
  void calls.stop();
  await calls.prints('"failures"');
  const { made, failures, closed } = JSON.parse(calls.lines.at(-1) ?? "") as {
    readonly made: object;
    readonly failures: object;
    readonly closed: unknown;
  };
  t.same(failures, {}, JSON.stringify(made));
  t.equal(closed, 1001, "going away");
  for (const older of replaced) {
    await older.prints('"stopped"');
    t.notMatch(older.printed, "were cut off at shutdown");
  }
}

/** More rounds are over than there were. */
async function more(calls: Daemon): Promise<void> {
  const rounds = (): number => {
    const last = calls.lines.at(-1);
    return last === undefined
      ? 0
      : (JSON.parse(last) as { readonly rounds: number }).rounds;
  };
  const before = rounds();
  await eventually(
    "calls are made",
    60_000,
    () => Promise.resolve(rounds()),
    (now) => now >= before + ROUNDS,
  );
}

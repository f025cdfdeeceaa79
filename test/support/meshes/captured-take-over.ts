/** Sidecars that are replaced in place under captured calls: by address and by name, on new connections and on one that lasts. */
import type { Test } from "tap";
import { eventually } from "../peers/call.ts";
import type { CapturedMesh } from "./captured-mesh.ts";
import { NAME_SERVERS } from "./captured-names.ts";
import type { Daemon } from "./hosts.ts";

/**
 * Calls of each sort one after the other, until SIGTERM. A name is asked for once and never again: a question that is lost is a failure.
 * Prints how many of each there were, and in the end which failed.
 */
const CALLS = `
import { once } from "node:events";
import { Agent, get } from "node:http";
import { connect } from "node:net";
import { Resolver } from "node:dns/promises";
const [address, servers] = process.argv.slice(1);
const agents = { new: new Agent(), kept: new Agent({ keepAlive: true }) };
const resolver = new Resolver({ timeout: 30_000, tries: 1 });
if (servers !== "") resolver.setServers(servers.split(","));
const failures = {};
const made = {};
let said = 0;
let over = false;
process.once("SIGTERM", () => (over = true));
const http = async (agent) => {
  const [response] = await once(get({ host: address, port: 8080, agent }), "response");
  if (response.statusCode !== 200) throw new Error("status " + response.statusCode);
  await once(response.resume(), "end");
};
const greeting = async (host, port) => {
  const socket = connect(port, host);
  const [first] = await once(socket, "data");
  if (!String(first).startsWith("greeting of callee")) throw new Error("it says " + first);
  socket.resume().end();
  await once(socket, "close");
};
const lasting = connect(9000, address);
lasting.on("error", () => {});
await once(lasting, "data");
const sorts = {
  "HTTP on new connections": () => http(agents.new),
  "HTTP on a kept connection": () => http(agents.kept),
  "bytes on new connections": () => greeting(address, 9000),
  async "bytes on a connection that lasts"() {
    if (lasting.destroyed) throw new Error("closed");
    lasting.write("more ");
    const [echo] = await Promise.race([once(lasting, "data"), once(lasting, "close").then(() => [])]);
    if (String(echo) !== "more ") throw new Error("cut off");
  },
  ...(servers !== "" && {
    async names() {
      const [virtual] = await resolver.resolve4("callee.shop");
      await greeting(virtual, 90);
    },
  }),
};
await Promise.all(Object.entries(sorts).map(async ([sort, run]) => {
  for (made[sort] = 0; !over; made[sort] += 1) {
    await run().catch((error) => {
      const what = sort + ": " + (error.code ?? error.message);
      failures[what] = (failures[what] ?? 0) + 1;
    });
    const least = Math.min(...Object.values(made));
    if (least > said) console.log(JSON.stringify({ rounds: (said = least) }));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}));
lasting.end();
if (!lasting.destroyed) await once(lasting, "close");
console.log(JSON.stringify({ made, failures }));
process.exit();
`;

/** Rounds of all sorts that a step is given. */
const ROUNDS = 10;

export async function takeOverCaptured(
  t: Test,
  { caller, callee }: CapturedMesh,
): Promise<void> {
  const calls = caller.start([
    ...[process.execPath, "--input-type=module", "-e", CALLS],
    ...[callee.ipv4, NAME_SERVERS.join()],
  ]);
  await more(calls);
  const hosts = [callee, caller];
  const replaced = hosts.map((host) => host.sidecar);
  await Promise.all(hosts.map((host) => host.takeOver()));
  await more(calls);
  void calls.stop();
  await calls.prints('"failures"');
  const { made, failures } = JSON.parse(calls.lines.at(-1) ?? "") as {
    readonly made: object;
    readonly failures: object;
  };
  t.same(failures, {}, JSON.stringify(made));
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

/** A process of the crowd: so many agents of sidecars, as they are in a sidecar, that enrol all at once, those of an account with one token. `GET /` says how many are in. */
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readArguments } from "../../arguments.ts";
import { startAgent } from "../../../src/agent/mesh-agent.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { connectFromManySources } from "../fleet/sources.ts";
import { PORTS } from "../layout.ts";
import { accountOf } from "./accounts.ts";
import { nameOf, namespaceOf, shapeOf, usedBy } from "../mesh.ts";

/** Of all agents together. */
export interface CrowdState {
  readonly connected: number;
  readonly registered: number;
  /** How often a connected one was not any more. */
  readonly lost: number;
  /** The newest faults, and how many have each. */
  readonly faults: Readonly<Record<string, number>>;
}

/** What is seen of one agent. */
interface Seen {
  connected: boolean;
  registered: boolean;
  fault: string | undefined;
}

const { values } = readArguments(
  process.argv.slice(2),
  {
    first: { type: "string", default: "0" },
    count: { type: "string", default: "1" },
    port: { type: "string", default: String(PORTS.crowd) },
    services: { type: "string", default: "10" },
    tokens: { type: "string", default: "" },
    state: { type: "string", default: "" },
  },
  "bench/scale starts it",
);
const shape = shapeOf(Number(values.services));
const seen: Seen[] = [];
let lost = 0;

function stateNow(): CrowdState {
  const faults = new Map<string, number>();
  for (const { fault } of seen)
    if (fault !== undefined) faults.set(fault, (faults.get(fault) ?? 0) + 1);
  return {
    connected: seen.filter(({ connected }) => connected).length,
    registered: seen.filter(({ registered }) => registered).length,
    lost,
    faults: Object.fromEntries(faults),
  };
}

async function enter(index: number): Promise<void> {
  const account = accountOf(index);
  const agent = await startAgent({
    controlPlane: `127.0.0.1:${PORTS.push}`,
    stateDirectory: join(values.state, `crowd-${index}`),
    token: readFileSync(join(values.tokens, String(account)), "utf8"),
    name: `crowd-${index}`,
    version: "bench",
    workload: () => ({
      // No Workload of the mesh has it.
      address: `10.200.${index >> 8}.${index & 255}`,
      ports: { http: 8080 },
      ttl: "15s",
    }),
    interest: {
      services: usedBy(shape, account).map(
        (service) => `${namespaceOf(service)}/${nameOf(service)}`,
      ),
      hosts: [],
    },
    clock: systemClock,
    logger: silentLogger,
  });
  const mine: Seen = { connected: false, registered: false, fault: undefined };
  seen.push(mine);
  agent.state.subscribe(({ connected, registered, lastError }) => {
    if (mine.connected && !connected) lost += 1;
    mine.connected = connected;
    mine.registered = connected && registered !== undefined;
    mine.fault = lastError;
  });
  await agent.setReady(true);
}

const first = Number(values.first);
connectFromManySources(first);
const server = createServer((_request, response) => {
  response.end(JSON.stringify(stateNow()));
});
// Whoever looks is on the same connection for all of it, also when this process was long busy.
server.keepAliveTimeout = 600_000;
server.listen(Number(values.port), "127.0.0.1", () => {
  for (let index = 0; index < Number(values.count); index += 1)
    void enter(first + index);
});

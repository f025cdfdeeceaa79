/**
 * The process of the replicas: ten listeners and one that may join, each with the simulated slots of `bench/simulate/replica.ts` on
 * the real clock (it waits, it does not compute), and one of our sidecars beside each. `POST /begin?scenario=…&seed=…` starts what goes wrong.
 */
import { createServer, type ServerResponse } from "node:http";
import { readArguments } from "../arguments.ts";
import { startFileAgent } from "../../src/agent/files/file-agent.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/log.ts";
import { startSidecar } from "../../src/sidecar/sidecar.ts";
import { seededRandom } from "../../test/support/clocks/fake-clock.ts";
import { lognormal } from "../simulate/engine.ts";
import { Replica } from "../simulate/replica.ts";
import { REPLICAS, SCENARIOS, SIGMA } from "../simulate/scenarios.ts";
import {
  ALL_REPLICAS,
  APP_PORTS,
  CALLEE_PORTS,
  CONTROL_PORT,
  LINK_PORTS,
  MEAN_DEMAND,
  SLOTS,
} from "./layout.ts";

const BODY = "x".repeat(130);

const demands = seededRandom(1);
const errors = seededRandom(2);
const replicas = Array.from(
  { length: ALL_REPLICAS },
  () => new Replica(systemClock, SLOTS, errors),
);

function answer(replica: Replica, response: ServerResponse): void {
  const work = {
    demand: lognormal(demands, MEAN_DEMAND, SIGMA),
    finished(failed: boolean): void {
      response.statusCode = failed ? 503 : 200;
      response.end(BODY);
    },
  };
  response.on("close", () => {
    if (!response.writableFinished) replica.drop(work);
  });
  replica.take(work);
}

async function main(): Promise<void> {
  const { values } = readArguments(
    process.argv.slice(2),
    {
      resources: { type: "string", default: "" },
      certificate: { type: "string", default: "" },
      "private-key": { type: "string", default: "" },
      "trust-bundle": { type: "string", default: "" },
    },
    "bench/balance/main.ts starts it",
  );
  for (const [index, replica] of replicas.entries()) {
    const server = createServer((request, response) => {
      request.resume();
      answer(replica, response);
    });
    server.keepAliveTimeout = 60_000;
    server.listen(APP_PORTS[index], "127.0.0.1");
    await startSidecar({
      agent: () =>
        startFileAgent({
          resources: values.resources,
          identity: {
            certificate: values.certificate,
            privateKey: values["private-key"],
            trustBundle: values["trust-bundle"],
          },
          self: {
            name: `replica-${index}`,
            ports: { http: APP_PORTS[index] ?? 0 },
          },
          clock: systemClock,
          logger: silentLogger,
        }),
      host: "127.0.0.1",
      metricsHost: "127.0.0.1",
      accessLog: "none",
      ports: {
        link: LINK_PORTS[index] ?? 0,
        admin: CALLEE_PORTS[2 * index] ?? 0,
        metrics: CALLEE_PORTS[2 * index + 1] ?? 0,
      },
    });
  }
  createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? "/", "http://localhost");
    const scenario = SCENARIOS.find(
      ({ name }) => name === searchParams.get("scenario"),
    );
    if (scenario === undefined) {
      response.statusCode = 404;
      response.end();
      return;
    }
    const seed = Number(searchParams.get("seed"));
    const present =
      scenario.joining === undefined ? replicas.slice(0, REPLICAS) : replicas;
    scenario.inject(present, systemClock, seededRandom(seed));
    response.end();
  }).listen(CONTROL_PORT, "127.0.0.1");
}

await main();

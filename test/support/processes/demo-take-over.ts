/** Every sidecar of the demo is replaced in place, one after the other, under calls and with dialogues open. */
import { join } from "node:path";
import type { Test } from "tap";
import { stringify } from "yaml";
import type { Instance } from "../../../src/demo/shop.ts";
import { eventually } from "../peers/call.ts";
import { Dialogues, startDialogueServers } from "../peers/dialogues.ts";
import { startCalls, type SteadyCalls } from "../peers/steady-calls.ts";
import { startDemo, type Demo } from "./demo.ts";
import { startWherry, type WherryProcess } from "./wherry-process.ts";

const WITHIN = 120_000;

/** `count`: WebSockets, and streams of gRPC. */
export async function replaceDemo(t: Test, count: number): Promise<void> {
  const demo = await startDemo();
  const servers = await startDialogueServers();
  const processes: WherryProcess[] = [];
  /** The newest of each sidecar. */
  const newest = new Map<string, WherryProcess>();
  const dialogues = new Dialogues(count);
  t.teardown(async () => {
    dialogues.close();
    for (const each of newest.values()) each.signal("SIGINT");
    await demo.stop();
    for (const each of processes) await each.stop();
    servers.close();
  });
  for (const service of servers.services) await demo.apply(stringify(service));
  const stages = new Stages();
  const replace = async (instance: Instance): Promise<void> => {
    stages.begin(instance.name);
    const before = newest.get(instance.name);
    const own = instance.service === "orders" ? servers.options : [];
    const newer = startWherry([
      ...sidecarOf(demo, instance),
      ...[...own, "--take-over"],
    ]);
    processes.push(newer);
    newest.set(instance.name, newer);
    await said(`${instance.name} listens`, "the sidecar listens", () =>
      Promise.resolve(newer.log),
    );
    leaving.push(
      before === undefined
        ? () => demo.log(`${instance.name}/sidecar`)
        : () => Promise.resolve(before.log),
    );
  };
  /** The logs of processes that are about to end. */
  const leaving: (() => Promise<string>)[] = [];
  const ended = async (): Promise<void> => {
    for (const log of leaving.splice(0))
      t.notMatch(
        await said("the older process ends", '"stopped"', log),
        "were cut off",
      );
  };
  const { outbound } = demo.instance("web-1").ports;
  const started = performance.now();
  const { stage } = stages;
  const calls = [
    startCalls(Number(new URL(demo.file.web).port), "web.shop", 1, { stage }),
    startCalls(outbound, "catalog.shop", 1, { path: "/products", stage }),
  ];
  // From now on they have the dialogues behind them.
  for (const name of ["orders-1", "orders-2"])
    await replace(demo.instance(name));
  await ended();
  for (const instance of demo.file.instances) {
    await dialogues.open(outbound);
    await replace(instance);
    const { ends, withGoaway } = await dialogues.ends();
    t.same(new Set(ends), new Set(["0"]), `${instance.name}: streams`);
    await ended();
    const closes = await dialogues.closesSoFar();
    t.same(
      closes.filter((code) => code !== "1001"),
      [],
      `${instance.name}: ${closes.length} WebSockets`,
    );
    if (instance.name === "web-1")
      t.same([closes.length, withGoaway], [count, count]);
  }
  for (const each of calls) await each.stop();
  const seconds = (performance.now() - started) / 1000;
  const [pages, direct] = calls.map(({ made }) => made);
  t.same(
    calls.flatMap(({ failures }) => [...failures]),
    [],
    `${pages} pages of four calls each, and ${direct} calls, in ${Math.round(seconds)} s: ${rateOf(calls, seconds)} calls a second`,
  );
}

/** Which take-over a failure belongs to. */
class Stages {
  #name = "nobody";
  #at = performance.now();

  begin(name: string): void {
    this.#name = name;
    this.#at = performance.now();
  }

  readonly stage = (): string =>
    `${Math.round(performance.now() - this.#at)} ms after the take-over of ${this.#name} began`;
}

/** A page is a call of web, and one each of catalog, orders and payments. */
function rateOf(
  [pages, direct]: readonly SteadyCalls[],
  seconds: number,
): number {
  return Math.round((4 * (pages?.made ?? 0) + (direct?.made ?? 0)) / seconds);
}

function said(
  what: string,
  words: string,
  log: () => Promise<string>,
): Promise<string> {
  return eventually(what, WITHIN, log, (text) => text.includes(words));
}

/** As `wherry dev` starts it. */
function sidecarOf(
  { file, state }: Demo,
  { name, service, ports }: Instance,
): readonly string[] {
  return [
    ...["sidecar", "--control-plane", new URL(file.push).host],
    ...["--name", name, "--address", "127.0.0.1"],
    ...["--app-port", `http=${ports.application}`],
    ...["--state", join(state, "sidecars", name)],
    ...["--outbound-port", String(ports.outbound)],
    ...["--link-port", String(ports.link)],
    ...["--host", "127.0.0.1", "--no-capture"],
    ...["--admin-port", String(ports.admin)],
    ...["--metrics-port", String(ports.metrics)],
    ...["--otlp-endpoint", file.control, "--otlp-protocol", "http/protobuf"],
    ...(service === "web"
      ? ["--publish", `${new URL(file.web).port}=${ports.application}`]
      : []),
  ];
}

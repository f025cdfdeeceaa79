/** `wherry dev`: a whole mesh on one machine, with a small shop in it that people can break. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { messageOf, UserError } from "../core/errors.ts";
import { openLocalToken } from "../core/local/local-token.ts";
import { readSecret } from "../core/secret-file.ts";
import { DEMO_TOKEN_FILE, startControl } from "./control.ts";
import { fetchText, untilReady } from "./http.ts";
import { startLoad } from "./load.ts";
import { manageProcess, type ManagedProcess } from "./processes.ts";
import { demoResources, type DemoResource } from "./shop-resources.ts";
import { layOut, type Instance, type Shop } from "./shop.ts";
import { makeTraceStore } from "./trace-store.ts";

export interface DevOptions {
  readonly stateDirectory: string;
  readonly load: boolean;
  /** Whatever ports are free, instead of the usual ones. */
  readonly anyPorts: boolean;
  /** Spans go there too. */
  readonly otlpEndpoint: string | undefined;
  /** Flags of Node for the sidecars. */
  readonly sidecarFlags: readonly string[];
  readonly clock: Clock;
  /** One line of progress. */
  readonly progress: (text: string) => void;
  readonly stop: AbortSignal;
}

export interface Dev {
  readonly shop: Shop;
  /** Stops everything, in order. */
  close(): Promise<void>;
}

/** What `.wherry/dev.json` tells the other commands and tests. */
export interface DevFile {
  readonly pid: number;
  readonly web: string;
  readonly api: string;
  /** Where sidecars enrol and get their config: "http://127.0.0.1:15012", of which host and port matter. */
  readonly push: string;
  readonly control: string;
  readonly instances: readonly Instance[];
}

export function devFile(stateDirectory: string): string {
  return join(stateDirectory, "dev.json");
}

const READY_WITHIN = 60_000;

export async function startDev(options: DevOptions): Promise<Dev> {
  const { progress, clock, stop } = options;
  const shop = await layOut(options.anyPorts);
  const logs = join(options.stateDirectory, "logs");
  await mkdir(logs, { recursive: true, mode: 0o700 });

  // A part that ends before the shop is open ends the start: waiting for it would be in vain.
  const opening = new AbortController();
  const signal = AbortSignal.any([stop, opening.signal]);
  let open = false;
  const processes = new Map<string, ManagedProcess>();
  const add = (
    name: string,
    args: readonly string[],
    more: {
      readonly nodeFlags?: readonly string[];
      readonly environment?: Record<string, string>;
    } = {},
  ): ManagedProcess => {
    const process = manageProcess({
      name,
      args,
      logFile: join(logs, `${name.replace("/", "-")}.log`),
      clock,
      onUnexpectedExit: (how) => {
        const log = join(logs, `${name.replace("/", "-")}.log`);
        const what = `${name} ended (${how}); its log is ${log}`;
        if (open)
          progress(
            `${what}; start it again with: npx wherry demo start ${name}`,
          );
        else opening.abort(new UserError(what));
      },
      ...more,
    });
    processes.set(name, process);
    return process;
  };
  const traces = makeTraceStore({ maxTraces: 1000 });
  const control = await startControl({
    clock,
    port: shop.ports.control,
    traces,
    processes,
    forwardTo: options.otlpEndpoint,
    token: await openLocalToken(join(options.stateDirectory, DEMO_TOKEN_FILE)),
  });
  let load: { close(): void } | undefined;
  const close = async (): Promise<void> => {
    load?.close();
    await stopInOrder([...processes.values()]);
    await control.close();
  };
  try {
    const api = `http://127.0.0.1:${shop.ports.api}`;
    progress("starting the control plane");
    add("control-plane", controlPlaneArguments(options, shop)).start();
    await untilReady(
      "the control plane",
      `${api}/readyz`,
      clock,
      READY_WITHIN,
      signal,
    );

    progress(
      "applying the shop's resources, and making a token for each service",
    );
    const token = (
      await readSecret(
        join(options.stateDirectory, "admin.token"),
        "the API token",
      )
    ).trim();
    for (const resource of await demoResources(shop))
      await apply(api, token, resource, signal);

    progress(
      `starting ${shop.instances.length} applications, and a sidecar beside each`,
    );
    for (const instance of shop.instances) {
      add(
        `${instance.name}/app`,
        applicationArguments(options, instance),
      ).start();
      const enrolment = await enrolmentToken(api, token, instance, signal);
      add(
        `${instance.name}/sidecar`,
        sidecarArguments(options, shop, instance),
        {
          nodeFlags: options.sidecarFlags,
          environment: { WHERRY_TOKEN: enrolment },
        },
      ).start();
    }
    await Promise.all(
      shop.instances.map((instance) =>
        untilReady(
          instance.name,
          `http://127.0.0.1:${instance.ports.metrics}/readyz`,
          clock,
          READY_WITHIN,
          signal,
        ),
      ),
    );
    progress("waiting for the shop's first page");
    const web = `http://127.0.0.1:${shop.ports.web}`;
    await untilReady("the shop", `${web}/`, clock, READY_WITHIN, signal);
    await writeDevFile(options.stateDirectory, {
      pid: process.pid,
      web,
      api,
      push: `http://127.0.0.1:${shop.ports.push}`,
      control: `http://127.0.0.1:${shop.ports.control}`,
      instances: shop.instances,
    });
    if (options.load) load = startLoad(web, clock, stop);
    open = true;
    return { shop, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Callers before callees, the control plane last: so that each can say goodbye. */
async function stopInOrder(
  processes: readonly ManagedProcess[],
): Promise<void> {
  const isSidecar = (process: ManagedProcess): boolean =>
    process.name.endsWith("/sidecar");
  const isApplication = (process: ManagedProcess): boolean =>
    process.name.endsWith("/app");
  await Promise.all(
    processes.filter(isSidecar).map((process) => process.stop()),
  );
  await Promise.all(
    processes.filter(isApplication).map((process) => process.stop()),
  );
  await Promise.all(processes.map((process) => process.stop()));
}

function controlPlaneArguments(options: DevOptions, shop: Shop): string[] {
  return [
    "control-plane",
    ...["--state", options.stateDirectory],
    ...["--profile", "development"],
    ...["--api", `127.0.0.1:${shop.ports.api}`],
    ...["--push", `127.0.0.1:${shop.ports.push}`],
  ];
}

function applicationArguments(
  options: DevOptions,
  instance: Instance,
): string[] {
  return [
    "demo-application",
    instance.service,
    ...["--instance", instance.name],
    ...["--release", instance.version],
    ...["--port", String(instance.ports.application)],
    ...["--outbound-port", String(instance.ports.outbound)],
    ...["--database", join(options.stateDirectory, "orders.db")],
  ];
}

function sidecarArguments(
  options: DevOptions,
  shop: Shop,
  instance: Instance,
): string[] {
  const { ports } = instance;
  return [
    "sidecar",
    ...["--control-plane", `127.0.0.1:${shop.ports.push}`],
    ...["--name", instance.name],
    ...["--address", "127.0.0.1"],
    ...["--app-port", `http=${ports.application}`],
    ...["--state", join(options.stateDirectory, "sidecars", instance.name)],
    ...["--outbound-port", String(ports.outbound)],
    ...["--link-port", String(ports.link)],
    ...["--host", "127.0.0.1", "--no-capture"],
    ...["--admin-port", String(ports.admin)],
    ...["--metrics-port", String(ports.metrics)],
    ...["--otlp-endpoint", `http://127.0.0.1:${shop.ports.control}`],
    ...(instance.service === "web"
      ? ["--publish", `${shop.ports.web}=${ports.application}`]
      : []),
  ];
}

async function apply(
  api: string,
  token: string,
  resource: DemoResource,
  signal: AbortSignal,
): Promise<void> {
  const { status, text } = await fetchText(`${api}${resource.path}`, signal, {
    method: "PUT",
    body: resource.body,
    token,
  });
  if (status !== 200 && status !== 201)
    throw new UserError(
      `the control plane refuses ${resource.path} of the demo: ${status} ${text}`,
    );
}

async function enrolmentToken(
  api: string,
  token: string,
  instance: Instance,
  signal: AbortSignal,
): Promise<string> {
  const body = {
    namespace: "shop",
    serviceAccount: instance.service,
    labels: { app: instance.service, version: instance.version },
    ttl: "1h",
    uses: 1,
  };
  const { status, text } = await fetchText(`${api}/tokens/enrolment`, signal, {
    method: "POST",
    body,
    token,
  });
  if (status !== 201)
    throw new UserError(
      `the control plane makes no enrolment token: ${status} ${text}`,
    );
  return (JSON.parse(text) as { token: string }).token;
}

async function writeDevFile(
  stateDirectory: string,
  content: DevFile,
): Promise<void> {
  await writeFile(
    devFile(stateDirectory),
    `${JSON.stringify(content, undefined, 2)}\n`,
    { mode: 0o600 },
  );
}

/** What the running demo has written about itself. */
export async function readDevFile(stateDirectory: string): Promise<DevFile> {
  try {
    return JSON.parse(
      await readFile(devFile(stateDirectory), "utf8"),
    ) as DevFile;
  } catch (error) {
    throw new UserError(
      `no demo has run here (${messageOf(error)}): start it with "npm start"`,
    );
  }
}

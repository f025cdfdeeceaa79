/** `wherry dev`: a whole mesh on one machine, with a small shop in it that people can break. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { messageOf, UserError } from "../core/errors.ts";
import { openLocalToken } from "../core/local/local-token.ts";
import { readSecret } from "../core/secret-file.ts";
import { DEMO_TOKEN_FILE, startControl } from "./control.ts";
import { fetchText, firstPage, untilReady, type Obstacle } from "./http.ts";
import { startLoad } from "./load.ts";
import {
  manageProcess,
  type ManagedProcess,
  type ProcessOptions,
} from "./processes.ts";
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
  /** Why its page is not whole; undefined where it is. */
  readonly obstacle: Obstacle | undefined;
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

/** Milliseconds. */
const READY_WITHIN = 60_000;

export async function startDev(options: DevOptions): Promise<Dev> {
  const shop = await layOut(options.anyPorts);
  await mkdir(logsOf(options), { recursive: true, mode: 0o700 });
  const token = await openLocalToken(
    join(options.stateDirectory, DEMO_TOKEN_FILE),
  );
  const processes = new Map<string, ManagedProcess>();
  const control = await startControl({
    clock: options.clock,
    port: shop.ports.control,
    traces: makeTraceStore({ maxTraces: 1000 }),
    processes,
    forwardTo: options.otlpEndpoint,
    token,
  });
  const mesh = new DemoMesh(options, shop, processes, control);
  try {
    await mesh.open();
    return mesh;
  } catch (error) {
    await mesh.close();
    throw error;
  }
}

class DemoMesh implements Dev {
  readonly shop: Shop;
  readonly #options: DevOptions;
  /** In the order of their start. */
  readonly #processes: Map<string, ManagedProcess>;
  readonly #control: { close(): Promise<void> };
  /** A part that ends before the shop is open ends the start: waiting for it would be in vain. */
  readonly #opening = new AbortController();
  readonly #signal: AbortSignal;
  #open = false;
  #obstacle: Obstacle | undefined;
  #load: { close(): void } | undefined;

  constructor(
    options: DevOptions,
    shop: Shop,
    processes: Map<string, ManagedProcess>,
    control: { close(): Promise<void> },
  ) {
    this.shop = shop;
    this.#options = options;
    this.#processes = processes;
    this.#control = control;
    this.#signal = AbortSignal.any([options.stop, this.#opening.signal]);
  }

  get obstacle(): Obstacle | undefined {
    return this.#obstacle;
  }

  /** Resolves once the shop's page is there. Rejects with UserError. */
  async open(): Promise<void> {
    const { clock, stop, load } = this.#options;
    const web = `http://127.0.0.1:${this.shop.ports.web}`;
    await this.#startControlPlane();
    await this.#startInstances(await this.#applyResources());
    await this.#openShop(web);
    if (load) this.#load = startLoad(web, clock, stop);
    this.#open = true;
  }

  async close(): Promise<void> {
    this.#load?.close();
    await stopInOrder([...this.#processes.values()]);
    await this.#control.close();
  }

  get #api(): string {
    return `http://127.0.0.1:${this.shop.ports.api}`;
  }

  async #startControlPlane(): Promise<void> {
    const { progress } = this.#options;
    progress("starting the control plane");
    const args = controlPlaneArguments(this.#options, this.shop);
    this.#start("control-plane", args);
    await this.#untilReady("the control plane", `${this.#api}/readyz`);
  }

  /** Resolves with the administrator's token. */
  async #applyResources(): Promise<string> {
    const { progress, stateDirectory } = this.#options;
    progress(
      "applying the shop's resources, and making a token for each service",
    );
    const file = join(stateDirectory, "admin.token");
    const token = (await readSecret(file, "the API token")).trim();
    for (const resource of await demoResources(this.shop))
      await apply(this.#api, token, resource, this.#signal);
    return token;
  }

  async #startInstances(token: string): Promise<void> {
    const { progress, sidecarFlags } = this.#options;
    const { instances } = this.shop;
    progress(
      `starting ${instances.length} applications, and a sidecar beside each`,
    );
    for (const instance of instances) {
      const { name } = instance;
      this.#start(`${name}/app`, applicationArguments(this.#options, instance));
      const enrolment = await enrolmentToken(
        this.#api,
        token,
        instance,
        this.#signal,
      );
      const args = sidecarArguments(this.#options, this.shop, instance);
      this.#start(`${name}/sidecar`, args, {
        nodeFlags: sidecarFlags,
        environment: { WHERRY_TOKEN: enrolment },
        // Not SIGTERM, after which a sidecar waits for the end of its application.
        stopSignal: "SIGINT",
      });
    }
    await Promise.all(
      instances.map(({ name, ports }) =>
        this.#untilReady(
          name,
          `http://127.0.0.1:${ports.metrics}/readyz?application`,
        ),
      ),
    );
  }

  async #openShop(web: string): Promise<void> {
    const { progress, stateDirectory, clock } = this.#options;
    const { ports, instances } = this.shop;
    progress("waiting for the shop's first page");
    this.#obstacle = await firstPage(`${web}/`, clock, this.#signal);
    await writeDevFile(stateDirectory, {
      pid: process.pid,
      web,
      api: this.#api,
      push: `http://127.0.0.1:${ports.push}`,
      control: `http://127.0.0.1:${ports.control}`,
      instances,
    });
  }

  #start(
    name: string,
    args: readonly string[],
    more: Pick<ProcessOptions, "nodeFlags" | "environment" | "stopSignal"> = {},
  ): void {
    const logFile = join(
      logsOf(this.#options),
      `${name.replace("/", "-")}.log`,
    );
    const process = manageProcess({
      name,
      args,
      logFile,
      clock: this.#options.clock,
      onUnexpectedExit: (how) => this.#ended(name, how, logFile),
      ...more,
    });
    this.#processes.set(name, process);
    process.start();
  }

  #ended(name: string, how: string, logFile: string): void {
    const what = `${name} ended (${how}); its log is ${logFile}`;
    if (this.#open)
      this.#options.progress(
        `${what}; start it again with: npx wherry demo start ${name}`,
      );
    else this.#opening.abort(new UserError(what));
  }

  #untilReady(what: string, url: string): Promise<void> {
    return untilReady(
      what,
      url,
      this.#options.clock,
      READY_WITHIN,
      this.#signal,
    );
  }
}

function logsOf({ stateDirectory }: DevOptions): string {
  return join(stateDirectory, "logs");
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
    ...["--otlp-protocol", "http/protobuf"],
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
      `the control plane made no enrolment token: ${status} ${text}`,
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

/**
 * One mesh under measurement: a control plane, a caller and two callees, each with its processes in a network namespace of its own.
 *
 * ```
 *   caller: calls → sidecar ──mutual TLS──▶ callee-1: sidecar → application
 *                                      └──▶ callee-2: sidecar → application
 *   plane: control plane
 * ```
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { wait } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { SIDECAR_FLAGS } from "../../src/runtime/node-flags.ts";
import type { Daemon, Host, Network } from "../../test/support/meshes/hosts.ts";
import {
  CALLEES,
  NAMESPACE,
  PORTS,
  SLOWEST,
  type Behaviour,
  type Callee,
  type HostName,
  type Mix,
  type Surroundings,
} from "./layout.ts";
import { startLoad, type Load } from "./load.ts";
import { startMadPlane, type MadPlane } from "./mad-plane.ts";
import { OddMachine, type Oddity } from "./odd-machine.ts";
import { isAlive, isReady, ordered } from "./probes.ts";

/** Milliseconds. */
const READY_WITHIN = 60_000;
const LOOK = 50;

export class Bed {
  readonly around: Surroundings;
  readonly directory: string;
  readonly machine: OddMachine;
  readonly #network: Network;
  readonly #sidecars = new Map<string, Daemon>();
  readonly #applications = new Map<string, Daemon>();
  #controlPlane: Daemon | undefined;
  /** "HOST:PORT" */
  #push = "";
  #loads = 0;

  constructor(
    around: Surroundings,
    directory: string,
    network: Network,
    odd: Oddity | undefined,
  ) {
    this.around = around;
    this.directory = directory;
    this.#network = network;
    this.machine = new OddMachine(odd, directory);
  }

  host(name: HostName): Host {
    const host = this.#network.hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  sidecar(name: HostName): Daemon {
    return found(this.#sidecars, name);
  }

  /** The control plane of its host, or the sidecar. */
  processOf(name: HostName): Daemon {
    return name === "plane" ? this.controlPlane : this.sidecar(name);
  }

  application(name: Callee): Daemon {
    return found(this.#applications, name);
  }

  get controlPlane(): Daemon {
    if (this.#controlPlane === undefined) throw new Error("no control plane");
    return this.#controlPlane;
  }

  /** `environment`: what makes its clock wrong, for example. */
  startControlPlane(
    environment: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const plane = this.host("plane");
    this.#push = `${plane.ipv4}:${PORTS.push}`;
    const command = [
      ...this.machine.shell("plane"),
      ...this.#node(),
      "control-plane",
      ...["--state", this.machine.state("plane"), "--store", "sqlite"],
      ...["--api", `127.0.0.1:${PORTS.api}`],
      ...["--push", this.#push, "--log-level", "warn"],
    ];
    this.#controlPlane = plane.start(command, { environment });
    return this.#apiAnswers();
  }

  /** One that serves as a control plane does until it is told to go mad. */
  async startMadPlane(): Promise<MadPlane> {
    const addresses = ["caller" as const, ...CALLEES].map(
      (name) => this.host(name).ipv4,
    );
    const host = this.host("plane");
    const plane = await startMadPlane(host, addresses);
    this.#controlPlane = plane.daemon;
    this.#push = `${host.ipv4}:${plane.port}`;
    return plane;
  }

  /** As `wherry` on the control plane's host; what it prints. Throws UserError where it fails. */
  async cli(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.host("plane").run(
      [...this.#node(), ...args],
      {
        environment: {
          WHERRY_SERVER: `http://127.0.0.1:${PORTS.api}`,
          WHERRY_STATE: this.machine.state("plane"),
        },
      },
    );
    if (code !== 0)
      throw new UserError(`wherry ${args.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  async apply(yaml: string): Promise<void> {
    const file = join(this.directory, "apply.yaml");
    await writeFile(file, yaml);
    await this.cli("apply", "-f", file);
  }

  async startSidecar(
    name: HostName,
    token?: string,
    more: readonly string[] = [],
  ): Promise<void> {
    const host = this.host(name);
    const sidecar = host.start([
      ...this.machine.shell(name),
      ...this.#node(SIDECAR_FLAGS),
      "sidecar",
      ...["--control-plane", this.#push],
      ...["--name", name, "--address", host.ipv4, "--no-capture"],
      ...["--state", this.machine.state(name), "--access-log", "none"],
      ...["--log-level", "warn", "--drain-timeout", "1s"],
      ...(name === "caller" ? [] : ["--app-port", `http=${PORTS.application}`]),
      ...(token === undefined ? [] : ["--token", token]),
      ...more,
    ]);
    this.#sidecars.set(name, sidecar);
    await this.until(`the sidecar of ${name} is ready`, sidecar, async () =>
      isReady(`http://${host.ipv4}:${PORTS.metrics}/readyz`),
    );
  }

  /** Resolves once the newer process has its place and the older one has ended. */
  async takeOver(name: HostName): Promise<void> {
    const older = this.sidecar(name);
    await this.startSidecar(name, undefined, ["--take-over"]);
    await this.until(`the older sidecar of ${name} ends`, older, () =>
      Promise.resolve(!isAlive(older.pid)),
    );
    await this.until(
      `the newer sidecar of ${name} is ready`,
      this.sidecar(name),
      () => isReady(`http://${this.host(name).ipv4}:${PORTS.metrics}/readyz`),
    );
  }

  async enrolmentToken(
    serviceAccount: string,
    hosts: readonly HostName[],
  ): Promise<string> {
    const text = await this.cli(
      ...["token", "create", "-n", NAMESPACE],
      ...["--service-account", serviceAccount],
      ...["--label", `app=${serviceAccount}`, "--ttl", "10m"],
      ...["--uses", String(hosts.length)],
      ...["--allow-address", hosts.map((each) => this.host(each).ipv4).join()],
    );
    return text.trim();
  }

  async startApplication(name: Callee): Promise<void> {
    const application = this.host(name).start([
      ...[process.execPath, "--disable-warning=ExperimentalWarning"],
      ...[join(import.meta.dirname, "application.ts"), name],
    ]);
    this.#applications.set(name, application);
    await application.prints("the application listens");
  }

  async order(name: Callee, behaviour: Behaviour): Promise<void> {
    const { ipv4 } = this.host(name);
    await ordered(`http://${ipv4}:${PORTS.orders}/${behaviour}`, "GET");
  }

  /** Calls from now on; resolves once all instances answer and none fails. Throws UserError where that does not come. */
  load(mix: Mix): Promise<Load> {
    this.#loads += 1;
    return startLoad({
      host: this.host("caller"),
      file: join(this.directory, `calls-${this.#loads}`),
      mix,
      answering: CALLEES,
      slowest: SLOWEST,
      around: this.around,
    });
  }

  async pause(ms: number): Promise<void> {
    await wait(this.around.clock, ms, new AbortController().signal);
  }

  async until(
    what: string,
    daemon: Daemon,
    condition: () => Promise<boolean>,
  ): Promise<void> {
    const { clock } = this.around;
    const late = clock.now() + READY_WITHIN;
    while (!(await condition())) {
      if (clock.now() > late)
        throw new UserError(
          `not within ${READY_WITHIN / 1000} s: ${what}\n${daemon.printed.slice(-2000)}`,
        );
      await this.pause(LOOK);
    }
  }

  async close(): Promise<void> {
    await this.#network.close();
    this.machine.close();
  }

  #apiAnswers(): Promise<void> {
    return this.until("the API answers", this.controlPlane, async () => {
      const { code } = await this.host("plane").run([
        ...["curl", "-sf", "-o", "/dev/null", "--noproxy", "*"],
        ...["--max-time", "2", `http://127.0.0.1:${PORTS.api}/readyz`],
      ]);
      return code === 0;
    });
  }

  #node(flags: readonly string[] = []): string[] {
    return [
      ...[process.execPath, "--disable-warning=ExperimentalWarning"],
      ...[...flags, join(this.around.dist, "wherry.js")],
    ];
  }
}

function found(daemons: ReadonlyMap<string, Daemon>, name: string): Daemon {
  const daemon = daemons.get(name);
  if (daemon === undefined) throw new Error(`no process of ${name}`);
  return daemon;
}

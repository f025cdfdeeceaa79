/**
 * One mesh under measurement: a control plane, a caller and two callees, each with its processes in a network namespace of its own.
 *
 * ```
 *   caller: calls → sidecar ──mutual TLS──▶ callee-1: sidecar → application
 *                                      └──▶ callee-2: sidecar → application
 *   plane: control plane
 * ```
 */
import { chmod, mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { request } from "undici";
import { wait } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { SIDECAR_FLAGS } from "../../src/runtime/node-flags.ts";
import {
  makeNetwork,
  whyNoHosts,
  type Daemon,
  type Host,
  type Network,
} from "../../test/support/meshes/hosts.ts";
import {
  smallDisk,
  type SmallDisk,
} from "../../test/support/faults/full-disk.ts";
import {
  failingDisk,
  type FailingDisk,
} from "../../test/support/faults/failing-disk.ts";
import type { MadPlaneTold } from "../../test/support/hostile/mad-plane-process.ts";
import type { Madness } from "../../test/support/hostile/madness.ts";
import {
  NAMESPACE,
  PORTS,
  SERVICE,
  SLOWEST,
  type Behaviour,
  type Mix,
  type Surroundings,
} from "./layout.ts";
import { startLoad, type Load } from "./load.ts";

export const CALLEES = ["callee-1", "callee-2"] as const;
export type Callee = (typeof CALLEES)[number];
export type HostName = "plane" | "caller" | Callee;

const MAD_PLANE = fileURLToPath(
  new URL("../../test/support/hostile/mad-plane-process.ts", import.meta.url),
);

export interface MadPlane extends MadPlaneTold {
  /** From now on; undefined: it serves. */
  madden(madness: Madness | undefined): Promise<void>;
}

/** Milliseconds. */
const READY_WITHIN = 60_000;
const LOOK = 50;

/** A certificate lives as long as is said, or as it does by default. */
function resources(certificateTTL: string | undefined): string {
  const ttl =
    certificateTTL === undefined ? "" : `, certificateTTL: ${certificateTTL}`;
  return `apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec: { mtls: { mode: STRICT${ttl} }, authorization: { defaultAction: ALLOW } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${SERVICE}, namespace: ${NAMESPACE} }
spec:
  ports: [{ name: http, port: 80, targetPort: ${PORTS.application}, appProtocol: http }]
  selector: { app: ${SERVICE} }
`;
}

/** What is odd about the machine of one of the hosts. */
export interface Oddity {
  readonly host: HostName;
  /** Its state is on a small disk of its own: one that can be filled and made read-only, or one that can fail. */
  readonly disk?: "small" | "failing";
  /** Its log goes to a pipe that is full, and that nobody reads. */
  readonly blockedLog?: boolean;
}

/** Bytes. */
const SMALL_DISK = 16 * 1024 * 1024;
/** Bytes that a pipe of Linux holds. */
const PIPE = 65_536;

export class Bed {
  readonly around: Surroundings;
  readonly directory: string;
  readonly #network: Network;
  readonly #odd: Oddity | undefined;
  readonly #disk: SmallDisk | FailingDisk | undefined;
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
    this.#odd = odd;
    if (odd?.disk === undefined) return;
    const make = odd.disk === "small" ? smallDisk : failingDisk;
    this.#disk = make(SMALL_DISK);
    if (this.#disk === undefined)
      throw new UserError("a small file system cannot be mounted");
  }

  /** Where the small disk is. */
  get disk(): string {
    if (this.#disk === undefined) throw new Error("no small disk");
    return this.#disk.directory;
  }

  get failingDisk(): FailingDisk {
    if (this.#disk === undefined || !("fail" in this.#disk))
      throw new Error("no disk that fails");
    return this.#disk;
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
      ...this.#shell("plane"),
      ...this.#node(),
      "control-plane",
      ...["--state", this.#state("plane"), "--store", "sqlite"],
      ...["--api", `127.0.0.1:${PORTS.api}`],
      ...["--push", this.#push, "--log-level", "warn"],
    ];
    this.#controlPlane = plane.start(command, { environment });
    return this.#apiAnswers();
  }

  /** One that serves as a control plane does until it is told to go mad. */
  async startMadPlane(): Promise<MadPlane> {
    const plane = this.host("plane");
    const addresses = ["caller" as const, ...CALLEES].map(
      (name) => this.host(name).ipv4,
    );
    this.#controlPlane = plane.start([
      // It has a machine of its own elsewhere: it gets what the sidecars and their applications leave of this one.
      ...["chrt", "--idle", "0"],
      ...[process.execPath, "--disable-warning=ExperimentalWarning", MAD_PLANE],
      ...[plane.ipv4, SERVICE, ...addresses.map((each) => `${each}/32`)],
    ]);
    await this.#controlPlane.prints("}\n");
    const [line = ""] = this.#controlPlane.lines;
    const told = JSON.parse(line) as MadPlaneTold;
    this.#push = `${plane.ipv4}:${told.port}`;
    const url = `http://${plane.ipv4}:${told.orders}/`;
    return {
      ...told,
      madden: (madness) => ordered(url, "POST", madness ?? ""),
    };
  }

  /** As `wherry` on the control plane's host; what it prints. Throws UserError where it fails. */
  async cli(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.host("plane").run(
      [...this.#node(), ...args],
      {
        environment: {
          WHERRY_SERVER: `http://127.0.0.1:${PORTS.api}`,
          WHERRY_STATE: this.#state("plane"),
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
      ...this.#shell(name),
      ...this.#node(SIDECAR_FLAGS),
      "sidecar",
      ...["--control-plane", this.#push],
      ...["--name", name, "--address", host.ipv4, "--no-capture"],
      ...["--state", this.#state(name), "--access-log", "none"],
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
    this.#disk?.unmount();
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

  /** What begins the process where its log is odd. */
  #shell(name: HostName): string[] {
    if (this.#odd?.blockedLog !== true || this.#odd.host !== name) return [];
    const pipe = join(this.directory, "log");
    const script = `mkfifo ${pipe}; exec 3<>${pipe}; head -c ${PIPE} /dev/zero >&3; exec "$@" >&3 2>&3`;
    return ["sh", "-c", script, "sh"];
  }

  #state(name: HostName): string {
    return this.#odd?.host === name && this.#disk !== undefined
      ? join(this.#disk.directory, "state")
      : join(this.directory, name);
  }
}

/** All of its processes run and its Service has two instances. Throws UserError where they cannot. */
export async function openBed(
  around: Surroundings,
  odd?: Oddity,
  certificateTTL?: string,
): Promise<Bed> {
  return openWith(around, odd, async (bed) => {
    await bed.startControlPlane();
    await bed.apply(resources(certificateTTL));
    return {
      callees: await bed.enrolmentToken(SERVICE, CALLEES),
      caller: await bed.enrolmentToken("caller", ["caller"]),
    };
  });
}

/** The same with a control plane that can go mad. */
export async function openMadBed(
  around: Surroundings,
): Promise<{ readonly bed: Bed; readonly plane: MadPlane }> {
  let plane: MadPlane | undefined;
  const bed = await openWith(around, undefined, async (opening) => {
    plane = await opening.startMadPlane();
    return { callees: plane.token, caller: plane.callerToken };
  });
  if (plane === undefined) throw new Error("no control plane");
  return { bed, plane };
}

/** `startPlane` gives tokens. */
async function openWith(
  around: Surroundings,
  odd: Oddity | undefined,
  startPlane: (
    bed: Bed,
  ) => Promise<{ readonly callees: string; readonly caller: string }>,
): Promise<Bed> {
  const why = whyNoHosts();
  if (why !== undefined) throw new UserError(why);
  const directory = await mkdtemp(join(around.directory, "mesh-"));
  await chmod(directory, 0o711);
  const network = makeNetwork(["plane", "caller", ...CALLEES]);
  let bed: Bed | undefined;
  try {
    bed = new Bed(around, directory, network, odd);
    const opened = bed;
    const { callees, caller } = await startPlane(bed);
    await Promise.all(CALLEES.map((name) => opened.startApplication(name)));
    await Promise.all([
      bed.startSidecar("caller", caller),
      ...CALLEES.map((name) => opened.startSidecar(name, callees)),
    ]);
    return bed;
  } catch (thrown) {
    await (bed ?? network).close();
    throw thrown;
  }
}

async function ordered(
  url: string,
  method: "GET" | "POST",
  text?: string,
): Promise<void> {
  const { body } = await request(url, { method, body: text ?? null });
  await body.dump();
}

function found(daemons: ReadonlyMap<string, Daemon>, name: string): Daemon {
  const daemon = daemons.get(name);
  if (daemon === undefined) throw new Error(`no process of ${name}`);
  return daemon;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(url, {
      signal: AbortSignal.timeout(2000),
    });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}

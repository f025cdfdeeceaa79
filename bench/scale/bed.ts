/** One mesh under measurement: its control plane and its application, which the lines share, and how a sidecar is started in it. */
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { wait } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import type { Running } from "../processes.ts";
import type { Api } from "./api.ts";
import { startApplication } from "./application.ts";
import {
  fillByApi,
  fillStore,
  startControlPlane,
  type ControlPlane,
} from "./control-plane.ts";
import { CALLERS, PORTS, type Surroundings } from "./layout.ts";
import { Load } from "./load.ts";
import { hostOf, resourcesOf, shapeOf, type Shape } from "./mesh.ts";
import type { ScaleOptions } from "./options.ts";
import { fromControlPlane, startSidecar, type Sidecar } from "./sidecar.ts";

/** Calls a second through the measured sidecar. */
const RATE = 500;
const STRAIGHT_RATE = 100;
/** Milliseconds in which the sidecar and its caller come to run as they will go on. */
const WARM_UP = 6000;

export interface NewSidecar {
  /** Whose instances share what they learn. */
  readonly account?: string;
  readonly options?: readonly string[];
}

export class Bed {
  readonly shape: Shape;
  /** Of the mesh, but its Mesh. */
  readonly resources: number;
  readonly around: Surroundings;
  readonly options: ScaleOptions;
  readonly #application: Running;
  #controlPlane: ControlPlane;
  #names = 0;

  constructor(
    shape: Shape,
    around: Surroundings,
    options: ScaleOptions,
    application: Running,
    controlPlane: ControlPlane,
  ) {
    this.shape = shape;
    this.resources = [...resourcesOf(shape)].length;
    this.around = around;
    this.options = options;
    this.#application = application;
    this.#controlPlane = controlPlane;
  }

  get controlPlane(): ControlPlane {
    return this.#controlPlane;
  }

  get api(): Api {
    return this.#controlPlane.api;
  }

  /** Starts it again after it was stopped. */
  async resumeControlPlane(): Promise<void> {
    const { stateDirectory } = this.#controlPlane;
    this.#controlPlane = await startControlPlane(stateDirectory, this.around);
  }

  /** A sidecar that has not been here before, with a state directory of its own. */
  async newSidecar({
    account = "caller",
    options = [],
  }: NewSidecar = {}): Promise<Sidecar & { readonly again: Again }> {
    this.#names += 1;
    const name = `${account}-${this.#names}`;
    const token = await this.api.enrolmentToken(CALLERS, account, 1);
    const state = join(this.around.directory, name);
    const begin = (given: string | undefined): Promise<Sidecar> =>
      startSidecar(
        {
          source: fromControlPlane(name, given),
          state,
          more: [...options, ...this.options.sidecarOptions],
        },
        this.around,
      );
    return { ...(await begin(token)), again: () => begin(undefined) };
  }

  /** Half of the calls go to the first of the used Services, the other half to the rest in turn. */
  load(port: number = PORTS.outbound): Load {
    const [first = 0, ...rest] = this.shape.used;
    return new Load({
      port,
      rate: RATE,
      services:
        rest.length === 0 ? [first] : rest.flatMap((each) => [first, each]),
      hostOf,
      clock: this.around.clock,
    });
  }

  /** To the application itself, by no proxy. */
  straightLoad(): Load {
    return new Load({
      port: PORTS.application,
      rate: STRAIGHT_RATE,
      services: [this.shape.used[0] ?? 0],
      hostOf,
      clock: this.around.clock,
    });
  }

  /** Loads the sidecar until it runs as it will go on. Throws UserError where calls fail. */
  async warmUp(load: Load): Promise<void> {
    await this.pause(WARM_UP - 2000);
    const window = load.window();
    await this.pause(2000);
    const { calls, failed, reasons } = await window.end();
    if (failed > 0)
      throw new UserError(
        `${failed} of ${calls} calls fail before anything is changed: ${JSON.stringify(reasons)}`,
      );
  }

  pause(ms: number): Promise<void> {
    return wait(this.around.clock, ms, new AbortController().signal);
  }

  async close(): Promise<void> {
    try {
      await this.#controlPlane.stop();
    } finally {
      await this.#application.stop();
    }
  }
}

export type Again = () => Promise<Sidecar>;

/** Fills a store with a mesh of so many Services and starts what serves it. */
export async function openBed(
  services: number,
  outer: Surroundings,
  options: ScaleOptions,
): Promise<Bed> {
  const directory = await mkdtemp(join(outer.directory, `mesh-${services}-`));
  const around = { ...outer, directory };
  const shape = shapeOf(services);
  const state = join(directory, "control-plane");
  if (options.fill === "store") await fillStore(shape, state, around);
  const application = await startApplication(shape, around);
  try {
    const controlPlane = await startControlPlane(state, around);
    const bed = new Bed(shape, around, options, application, controlPlane);
    try {
      if (options.fill === "api") await fillByApi(shape, bed.api, around);
      return bed;
    } catch (thrown) {
      await controlPlane.stop();
      throw thrown;
    }
  } catch (thrown) {
    await application.stop();
    throw thrown;
  }
}

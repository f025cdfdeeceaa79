/** A control plane with a mesh in its store: filled, started, ended, started again on the same store. */
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { openSqliteStore } from "../../src/control-plane/store/sqlite.ts";
import type { Put } from "../../src/control-plane/store/store.ts";
import { messageOf, UserError } from "../../src/core/errors.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { isError } from "../../src/resources/problems.ts";
import { validate } from "../../src/resources/validate.ts";
import { flagsOf } from "../../src/runtime/node-flags.ts";
import { pinnedTo } from "../peer.ts";
import { start, untilReady, type Running } from "../processes.ts";
import { Api } from "./api.ts";
import {
  PORTS,
  READY_WITHIN,
  TRUST_DOMAIN,
  type Surroundings,
} from "./layout.ts";
import { meshResource, resourcesOf, type Shape } from "./mesh.ts";
import { probeArguments } from "./probe.ts";

export interface ControlPlane {
  readonly running: Running;
  readonly api: Api;
  /** The probe's socket. */
  readonly probe: string;
  readonly stateDirectory: string;
  stop(): Promise<void>;
}

/** A file system in memory: each write of the store waits for the disk, and so many of them are not what is measured. */
const IN_MEMORY = "/dev/shm";

/** Resources that are written in a transaction. */
const IN_ONE = 2000;

/** Writes the mesh into the store, as the API would; one process at a time may have the store. */
export async function fillStore(
  shape: Shape,
  stateDirectory: string,
  around: Surroundings,
): Promise<void> {
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
  if (!existsSync(IN_MEMORY)) {
    await writeMesh(shape, stateDirectory, around);
    return;
  }
  const quick = await mkdtemp(join(IN_MEMORY, "wherry-scale-"));
  around.temporary.push(quick);
  try {
    await writeMesh(shape, quick, around);
    await cp(quick, stateDirectory, { recursive: true });
  } finally {
    await rm(quick, { recursive: true, force: true });
  }
}

async function writeMesh(
  shape: Shape,
  directory: string,
  { clock, say }: Surroundings,
): Promise<void> {
  const file = join(directory, "store.sqlite");
  const store = await openSqliteStore({ file, clock });
  const from = clock.now();
  let count = 0;
  let puts: Put[] = [{ resource: valid(meshResource()), expected: "absent" }];
  try {
    for (const resource of resourcesOf(shape)) {
      count += 1;
      puts.push({ resource: valid(resource), expected: "absent" });
      if (puts.length < IN_ONE) continue;
      await store.transact(puts);
      puts = [];
    }
    await store.transact(puts);
  } finally {
    await store.close();
  }
  say(
    `  ${count} resources were put in the store within ${((clock.now() - from) / 1000).toFixed(1)} s`,
  );
}

/** As validation leaves it. */
function valid(resource: Resource): Resource {
  const validation = validate(resource);
  if (validation.ok) return validation.resource;
  const [problem] = validation.problems.filter(isError);
  throw new UserError(
    `${resource.kind} ${resource.metadata.name} of the mesh is not valid: ${problem?.path ?? ""} ${problem?.message ?? ""}`,
  );
}

/** Through the API, a few at a time; what the first writes cost says nothing of what the last do. */
export async function fillByApi(
  shape: Shape,
  api: Api,
  { clock, say }: Surroundings,
): Promise<void> {
  const resources = resourcesOf(shape);
  const from = clock.now();
  let count = 0;
  let said = from;
  const writer = async (): Promise<void> => {
    for (;;) {
      const next = resources.next();
      if (next.done === true) return;
      await api.put(next.value);
      count += 1;
      if (clock.now() - said < 5000) continue;
      said = clock.now();
      say(`  ${count} resources are written`);
    }
  };
  await api.put(meshResource());
  await Promise.all(Array.from({ length: 8 }, writer));
  say(
    `  ${count} resources were written through the API within ${((clock.now() - from) / 1000).toFixed(1)} s`,
  );
}

/** Resolves when it is ready. `heap`: MiB that V8 may have, where its own limit is too low. */
export async function startControlPlane(
  stateDirectory: string,
  { dist, directory, cores, clock, nodeArguments }: Surroundings,
): Promise<ControlPlane> {
  const probe = join(directory, "control-plane.probe");
  // A process that was killed has left its socket behind.
  await rm(probe, { force: true });
  const running = await start(
    {
      name: "Wherry, control plane",
      command: process.execPath,
      args: [
        "--disable-warning=ExperimentalWarning",
        ...nodeArguments,
        // Without them Node begins again, and the probe would be there already.
        ...flagsOf("control-plane"),
        ...probeArguments(probe),
        ...[join(dist, "wherry.js"), "control-plane"],
        ...["--state", stateDirectory, "--store", "sqlite"],
        ...["--trust-domain", TRUST_DOMAIN, "--profile", "development"],
        ...["--api", `127.0.0.1:${PORTS.api}`],
        ...["--push", `127.0.0.1:${PORTS.push}`, "--log-level", "error"],
      ],
      port: PORTS.api,
      ...pinnedTo(cores.load),
    },
    clock,
    READY_WITHIN,
  );
  try {
    await untilReady(
      running,
      { port: PORTS.api, path: "/readyz" },
      clock,
      READY_WITHIN,
    );
    const token = await readToken(join(stateDirectory, "admin.token"));
    const api = new Api(PORTS.api, token);
    let stopping: Promise<void> | undefined;
    return {
      running,
      api,
      probe,
      stateDirectory,
      stop: () => (stopping ??= api.close().then(() => running.stop())),
    };
  } catch (thrown) {
    await running.stop();
    throw thrown;
  }
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (thrown) {
    throw new UserError(
      `the administrator's token cannot be read: ${messageOf(thrown)}`,
    );
  }
}

/** For tests: configs that can be told from each other, kept in a state directory; as a process, one after the other until it is killed. */
import { type Kept, type Owner } from "../../../src/agent/kept-config.ts";
import { LastKnownGood } from "../../../src/agent/last-known-good.ts";
import type { ReceivedResource } from "../../../src/agent/staging.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { resourceName } from "../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";

export const OWNER: Owner = {
  identity: "spiffe://demo/ns/shop/sa/web",
  name: "web-1",
};
export const PROGRAM = "1.2.3";

const SERVICES = 20;

export function keptService(name: string, spec: object = {}): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name, namespace: "shop" },
    spec: { ports: [{ name: "http", port: 80 }], ...spec },
  };
}

/** Each revision changes few Services of the one before; every third one has a Service more than its neighbours, and they become more. */
export function keptConfig(revision: number): Kept {
  const resources = new Map<string, ReceivedResource>();
  const count =
    SERVICES + Math.floor(revision / 4) + (revision % 3 === 0 ? 1 : 0);
  for (let index = 0; index < count; index += 1) {
    const version = String(Math.floor((revision + index) / SERVICES));
    const resource = keptService(`s${index}`, { selector: { version } });
    const received = { version, bytes: 10, resource };
    resources.set(resourceName(keyOf(resource)), received);
  }
  return {
    version: { store: "s", revision, digest: `digest of ${revision}` },
    receivedAt: revision,
    resources,
    interest: {
      services: ["shop/s0", `shop/s${revision}`],
      lookups: new Map([
        ["Host//none", { services: [] }],
        ["Host//some", { services: [`shop/s${revision % 2}`] }],
      ]),
    },
  };
}

/** Keeps revision after revision in the directory that it is given, from the one that is there; says each, and each failure. */
async function keepOn(path: string, last: number): Promise<void> {
  const directory = await openStateDirectory(path);
  let failure: string | undefined;
  const disk = new LastKnownGood({
    directory,
    program: PROGRAM,
    clock: systemClock,
    logger: silentLogger,
    onFailure: (error) => (failure = error),
  });
  const known = await disk.read(OWNER);
  const first =
    known !== undefined && "version" in known ? known.version.revision : 0;
  for (let revision = first + 1; revision <= last; revision += 1) {
    disk.keep(keptConfig(revision), OWNER);
    await disk.settled();
    process.stdout.write(
      `${failure === undefined ? "kept" : "failed"} ${revision}\n`,
    );
  }
}

if (import.meta.main)
  await keepOn(process.argv[2] ?? "", Number(process.argv[3] ?? Infinity));

// The config that outlives a restart: whose it is, which program wrote it, and what becomes of one that cannot be used.
import t from "tap";
import {
  makeKeeper,
  readKept,
  SNAPSHOT_FILE,
} from "../../src/agent/last-known-good.ts";
import {
  openStateDirectory,
  type StateDirectory,
} from "../../src/agent/state-directory.ts";
import { digestOf, resourceName } from "../../src/push/names.ts";
import { keyOf, type Resource } from "../../src/resources/envelope.ts";
import { silentLogger } from "../../src/core/log.ts";
import {
  temporaryDirectory,
  type Scope,
} from "../support/push-control-plane.ts";

const OWNER = { identity: "spiffe://demo/ns/shop/sa/web", name: "web-1" };

function service(spec: object): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: "orders", namespace: "shop" },
    spec: { ports: [{ name: "http", port: 80 }], ...spec },
  };
}

/** A state directory in which `program` has kept `resource`. */
async function kept(
  t: Scope,
  program: string,
  resource: Resource,
): Promise<StateDirectory> {
  const directory = await openStateDirectory(await temporaryDirectory(t));
  const keeper = makeKeeper(directory, program, silentLogger, () => undefined);
  const name = resourceName(keyOf(resource));
  keeper.keep(
    {
      version: { store: "s", revision: 7, digest: digestOf([[name, "1"]]) },
      receivedAt: 1000,
      resources: new Map([[name, { version: "1", bytes: 10, resource }]]),
    },
    OWNER,
  );
  await keeper.close();
  return directory;
}

void t.test("what this program kept is read as it is", async (t) => {
  const resource = service({ selector: { app: "orders" } });
  const directory = await kept(t, "1.2.3", resource);
  t.match(await readKept(directory, OWNER, "1.2.3"), {
    version: { store: "s", revision: 7 },
    receivedAt: 1000,
    resources: new Map([
      ["Service/shop/orders", { version: "1", bytes: 10, resource }],
    ]),
  });
});

void t.test(
  "what another version kept is held to this one's schemas",
  async (t) => {
    const good = await kept(t, "1.2.2", service({ selector: { app: "o" } }));
    t.match(await readKept(good, OWNER, "1.2.3"), { version: { revision: 7 } });
    const bad = await kept(t, "1.2.2", service({ colour: "blue" }));
    t.match(await readKept(bad, OWNER, "1.2.3"), {
      reason:
        /snapshot\.json is ignored: version "1\.2\.2" wrote it, and here Service shop\/orders: spec\.colour/,
    });
  },
);

void t.test("another format, and another owner's, are ignored", async (t) => {
  const directory = await kept(t, "1.2.3", service({}));
  t.match(await readKept(directory, { ...OWNER, name: "web-2" }, "1.2.3"), {
    reason: /it is the config of web-1/,
  });
  await directory.write(SNAPSHOT_FILE, { format: 1, owner: OWNER });
  t.match(await readKept(directory, OWNER, "1.2.3"), {
    reason: /it is of format 1, and this version reads 3/,
  });
});

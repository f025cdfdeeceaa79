import {
  mkdir,
  rename,
  symlink,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Agent } from "../../../src/agent/agent.ts";
import {
  startFileAgent,
  type FileAgentOptions,
} from "../../../src/agent/files/file-agent.ts";
import type { IdentityFiles } from "../../../src/agent/files/file-certificate.ts";
import { listResources } from "../../../src/agent/files/look.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import {
  eventually,
  temporaryDirectory,
  until,
  type Scope,
} from "../../support/control-plane/push-control-plane.ts";
import {
  fakeAuthority,
  type FakeAuthority,
} from "../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const HOUR = 3_600_000;

function service(name: string, extra = ""): string {
  return `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec:
  ports: [{port: 80, targetPort: 8080}]
  selector: {app: ${name}}
${extra}`;
}

interface Setting {
  readonly directory: string;
  readonly files: IdentityFiles;
  readonly resources: string;
  readonly authority: FakeAuthority;
  readonly credentials: (
    options?: Parameters<FakeAuthority["issue"]>[0],
  ) => Promise<void>;
  readonly start: (options?: Partial<FileAgentOptions>) => Promise<Agent>;
}

async function set(t: Scope): Promise<Setting> {
  const directory = await temporaryDirectory(t);
  const resources = join(directory, "resources");
  await mkdir(resources);
  await writeFile(join(resources, "orders.yaml"), service("orders"));
  const authority = fakeAuthority();
  const files = {
    certificate: join(directory, "tls.crt"),
    privateKey: join(directory, "tls.key"),
    trustBundle: join(directory, "ca.crt"),
  };
  const credentials: Setting["credentials"] = async (options = {}) => {
    const pems = authority.issue(options);
    await writeFile(files.certificate, pems.certificateChain);
    await writeFile(files.privateKey, pems.privateKey, { mode: 0o600 });
    await writeFile(files.trustBundle, pems.trustBundle);
  };
  await credentials();
  return {
    directory,
    files,
    resources,
    authority,
    credentials,
    start: async (options = {}) => {
      await age(options.resources ?? resources);
      const agent = await startFileAgent({
        resources,
        identity: files,
        self: { name: "web-1", labels: { app: "web" }, ports: { http: 8080 } },
        clock: systemClock,
        logger: silentLogger,
        ...options,
      });
      t.after(() => agent.close());
      return agent;
    },
  };
}

/** Files that were written a moment ago are given that moment; these were written long ago. */
async function age(path: string): Promise<void> {
  const long = new Date(Date.now() - HOUR);
  for (const file of await listResources(path).catch(() => []))
    await utimes(file, long, long);
}

const serves = (agent: Agent, host: string): boolean =>
  agent.snapshot.value?.destination(host, 80) !== undefined;

void t.test(
  "files give the same snapshot as a control plane would",
  async (t) => {
    const { start } = await set(t);
    const agent = await start();
    t.ok(serves(agent, "orders.shop"));
    t.match(agent.state.value, {
      source: "files",
      connected: true,
      version: { store: "files", revision: 1 },
    });
    t.ok(agent.state.value.configReceivedAt);
    t.match(agent.snapshot.value?.self, {
      name: "web-1",
      namespace: "shop",
      serviceAccount: "web",
      labels: { app: "web" },
      ports: { http: 8080 },
    });
    t.equal(
      agent.credentials.value?.id,
      "spiffe://cluster.local/ns/shop/sa/web",
    );
    await agent.setReady(true);
    await agent.deregister();
  },
);

void t.test(
  "one file will do, and a certificate's own binding goes before what was declared (trap 16)",
  async (t) => {
    const { start, resources, credentials } = await set(t);
    await credentials({ binding: { name: "web-7", labels: { app: "bound" } } });
    const agent = await start({ resources: join(resources, "orders.yaml") });
    t.match(agent.snapshot.value?.self, {
      name: "web-7",
      labels: { app: "bound" },
    });
  },
);

const CHANGES: readonly (readonly [
  how: string,
  change: (resources: string) => Promise<void>,
])[] = [
  [
    "written in place",
    (resources) =>
      writeFile(join(resources, "orders.yaml"), service("payments")),
  ],
  [
    "replaced by a rename",
    async (resources) => {
      await writeFile(join(resources, ".new"), service("payments"));
      await rename(join(resources, ".new"), join(resources, "orders.yaml"));
    },
  ],
  [
    "replaced by another file",
    async (resources) => {
      await unlink(join(resources, "orders.yaml"));
      await writeFile(join(resources, "payments.yml"), service("payments"));
    },
  ],
];

for (const [how, change] of CHANGES)
  void t.test(`resources that are ${how} come into force`, async (t) => {
    const { start, resources } = await set(t);
    const agent = await start();
    await change(resources);
    await eventually(agent.snapshot, () => serves(agent, "payments.shop"));
    t.equal(serves(agent, "orders.shop"), false);
    const { revision } = agent.snapshot.value?.version ?? {};
    await eventually(
      agent.state,
      ({ version }) => version?.revision === revision,
    );
  });

void t.test(
  "resources behind a link that is turned elsewhere come into force, by looking",
  async (t) => {
    const { start, directory } = await set(t);
    for (const name of ["orders", "payments"]) {
      await mkdir(join(directory, name));
      await writeFile(join(directory, name, "all.yaml"), service(name));
    }
    const link = join(directory, "current");
    await symlink(join(directory, "orders"), link);
    const agent = await start({ resources: link });
    t.ok(serves(agent, "orders.shop"));
    await symlink(join(directory, "payments"), join(directory, "next"));
    await rename(join(directory, "next"), link);
    await eventually(agent.snapshot, () => serves(agent, "payments.shop"));
  },
);

void t.test(
  "a change that cannot be used is refused with file, line and column, and the old one serves",
  async (t) => {
    const { start, resources } = await set(t);
    const agent = await start();
    const before = agent.snapshot.value;
    await writeFile(
      join(resources, "bad.yaml"),
      service("bad", "  notPorts: []\n"),
    );
    const { refused } = await eventually(
      agent.state,
      ({ refused }) => refused !== undefined,
    );
    t.match(refused?.reason, /bad\.yaml:7:3: error: spec\.notPorts/);
    t.equal(agent.snapshot.value, before);
    await writeFile(join(resources, "bad.yaml"), "a: [");
    await eventually(
      agent.state,
      ({ refused }) =>
        /bad\.yaml:1:/.test(refused?.reason ?? "") &&
        !/notPorts/.test(refused?.reason ?? ""),
    );
    await writeFile(join(resources, "bad.yaml"), service("good"));
    await eventually(agent.snapshot, () => serves(agent, "good.shop"));
    await eventually(agent.state, ({ refused }) => refused === undefined);
  },
);

void t.test(
  "a file that is emptied is refused, and used where that is meant",
  async (t) => {
    for (const allowShrink of [false, true]) {
      const { start, resources } = await set(t);
      const file = join(resources, "payments.yaml");
      await writeFile(file, service("payments"));
      const agent = await start({ allowShrink });
      t.ok(serves(agent, "payments.shop"));
      await writeFile(file, "");
      if (!allowShrink) {
        const { refused } = await eventually(
          agent.state,
          (state) => state.refused !== undefined,
        );
        t.match(
          refused?.reason,
          /payments\.yaml holds no resources any more: write them, or remove the file, or start with --allow-shrink/,
        );
        t.ok(serves(agent, "payments.shop"), "the config in force stays");
        await unlink(file);
      }
      await eventually(agent.snapshot, () => !serves(agent, "payments.shop"));
      await eventually(agent.state, (state) => state.refused === undefined);
    }
  },
);

void t.test(
  "what cannot be used at the start stops the start, with what is wrong",
  async (t) => {
    const { start, resources, directory, files } = await set(t);
    const { privateKey } = fakeAuthority().issue();
    await writeFile(join(directory, "other.key"), privateKey, { mode: 0o600 });
    await mkdir(join(directory, "empty"));
    await writeFile(join(directory, "bad.yaml"), service("bad", "  x: 1\n"));
    await writeFile(join(directory, "hollow.yaml"), "# nothing yet\n");
    for (const [options, message] of [
      [{ resources: join(directory, "nowhere") }, /cannot be read: ENOENT/],
      [{ resources: join(directory, "empty") }, /no file that ends in/],
      [
        { resources: join(directory, "bad.yaml") },
        /bad\.yaml:7:3: error: spec\.x/,
      ],
      [{ resources, maxConfigBytes: 10 }, /more than 10 bytes/],
      [
        { resources: join(directory, "hollow.yaml") },
        /the files hold no resources: .*--allow-shrink/,
      ],
      [
        { identity: { ...files, certificate: join(directory, "nowhere") } },
        /nowhere cannot be read/,
      ],
      [
        { identity: { ...files, privateKey: join(directory, "other.key") } },
        /private key/,
      ],
      [{ identity: "http://agent" }, /invalid --workload-api http:\/\/agent/],
      [{ self: {} }, /say --name/],
    ] as const)
      await t.rejects(start(options), { name: "UserError", message });
  },
);

void t.test(
  "a renewed certificate is taken up; a half-written one is not, and says so",
  async (t) => {
    const { start, directory, credentials } = await set(t);
    const agent = await start();
    const first = agent.credentials.value;
    await writeFile(
      join(directory, "tls.key"),
      "-----BEGIN PRIVATE KEY-----\n",
    );
    await eventually(agent.state, ({ lastError }) =>
      /the changed certificate cannot be used: private key/.test(
        lastError ?? "",
      ),
    );
    t.equal(agent.credentials.value, first);
    await credentials({ binding: { name: "web-9", labels: { app: "web" } } });
    const second = await eventually(
      agent.credentials,
      (value) => value !== first,
    );
    t.not(second?.generation, first?.generation);
    await until(() => agent.snapshot.value?.self.name === "web-9");
    t.equal(agent.state.value.lastError, undefined);
  },
);

void t.test("a certificate near its end raises the alarm", async (t) => {
  const { start } = await set(t);
  const clock = fakeClock({ wall: Date.now() });
  const agent = await start({ clock });
  clock.advance(0.7 * HOUR);
  t.equal(agent.state.value.certificateAlarm, undefined);
  clock.advance(0.1 * HOUR);
  t.match(
    agent.state.value.certificateAlarm,
    /tls\.crt expires at .*: put its successor there/,
  );
});

void t.test("a closed agent leaves no timer", async (t) => {
  const { start } = await set(t);
  const clock = fakeClock({ wall: Date.now() });
  const agent = await start({ clock });
  await agent.close();
  t.equal(clock.pending, 0);
});

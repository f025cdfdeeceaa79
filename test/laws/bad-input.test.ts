/** What a person gets wrong at the start: told what, where and what to do, in one line without a stack, and nothing stays open. */
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { runCli, type Ran } from "../support/control-plane/cli.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";

const HOUR = 3_600_000;
const authority = fakeAuthority();

function temporary(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), "wherry-bad-"));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A port that something listens on until the test ends. */
async function taken(t: Test, host = "127.0.0.1"): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function free(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

interface Files {
  readonly directory: string;
  readonly options: readonly string[];
}

/** A mesh in files, and the options of a sidecar that serves it. */
function files(t: Test): Files {
  const directory = temporary(t);
  const pems = authority.issue({
    binding: { name: "web-1", labels: { app: "web" } },
  });
  const put = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const mesh = put(
    "mesh.yaml",
    "apiVersion: mesh.wherry.dev/v1alpha1\nkind: Mesh\nmetadata: {name: default}\nspec: {authorization: {defaultAction: ALLOW}}\n",
  );
  return {
    directory,
    options: [
      "--resources",
      mesh,
      "--certificate",
      put("leaf.pem", pems.certificateChain),
      "--private-key",
      put("key.pem", pems.privateKey),
      "--trust-bundle",
      put("bundle.pem", pems.trustBundle),
    ],
  };
}

const PORTS = ["outbound", "inbound", "link", "admin", "metrics"] as const;

/** `wherry sidecar` with every port of the system's choosing, but for those that are given. */
function sidecar(
  options: readonly string[],
  more: readonly string[] = [],
): Promise<Ran> {
  const ports = PORTS.flatMap((name) =>
    more.includes(`--${name}-port`) ? [] : [`--${name}-port`, "0"],
  );
  return runCli([
    "sidecar",
    "--log-level",
    "silent",
    "--host",
    "127.0.0.1",
    ...ports,
    ...options,
    ...more,
  ]);
}

function controlPlane(
  state: string,
  more: readonly string[] = [],
): Promise<Ran> {
  const given = (name: string, value: string): string[] =>
    more.includes(name) ? [] : [name, value];
  return runCli([
    "control-plane",
    "--log-level",
    "silent",
    "--state",
    state,
    ...given("--api", "127.0.0.1:0"),
    ...given("--push", "127.0.0.1:0"),
    ...more,
  ]);
}

/** One clear line: exit code 1, what and what to do, no stack. */
function told(
  t: Test,
  { code, err }: Ran,
  message: RegExp,
  what: string,
): void {
  t.equal(code, 1, `${what}: exit code`);
  t.match(err, message, what);
  t.match(err, /^error: [^\n]*\n$/, `${what}: one line`);
  t.notMatch(err, /\n {4}at |node:internal/, `${what}: no stack`);
}

void t.test(
  "a sidecar whose port is in use says which option to change, and leaves nothing open",
  async (t) => {
    const { options } = files(t);
    const port = await taken(t);
    const rows: readonly (readonly [string, readonly string[]])[] = [
      ...PORTS.map(
        (name) => [`--${name}-port`, [`--${name}-port`, String(port)]] as const,
      ),
      ["--publish", ["--publish", `${port}=80`]],
      ["--upstream", ["--upstream", `${port}=orders.shop`]],
    ];
    for (const [option, more] of rows) {
      const other = option === "--outbound-port" ? "inbound" : "outbound";
      const first = await free();
      const ran = await sidecar(options, [
        ...more,
        `--${other}-port`,
        String(first),
      ]);
      told(
        t,
        ran,
        new RegExp(
          `cannot listen on 127\\.0\\.0\\.1:${port}: the port is in use \\(EADDRINUSE\\).*${option}`,
        ),
        option,
      );
      t.notOk(await isOpen(first), `${option}: the other listeners are closed`);
    }
  },
);

void t.test("a sidecar's address must be one of this machine", async (t) => {
  const { options } = files(t);
  told(
    t,
    await sidecar(options, ["--host", "192.0.2.1"]),
    /no such address \(EADDRNOTAVAIL\).*--host/,
    "another machine's address",
  );
});

void t.test("files that a sidecar cannot use are named", async (t) => {
  const { directory, options } = files(t);
  const missing = join(directory, "missing");
  const other = join(directory, "other.pem");
  writeFileSync(other, authority.issue().privateKey, { mode: 0o600 });
  const broken = join(directory, "broken.yaml");
  writeFileSync(
    broken,
    "apiVersion: mesh.wherry.dev/v1alpha1\nkind: Nothing\n",
  );
  const rows: readonly (readonly [string[], RegExp])[] = [
    [["--resources", missing], /resources cannot be read: ENOENT.*missing/],
    [["--resources", broken], /broken\.yaml:2:7: .*Nothing/],
    [["--certificate", missing], /missing cannot be read: ENOENT/],
    [["--certificate", broken], /certificate: no certificate found; give PEM/],
    [["--private-key", other], /private key: it does not belong to/],
    [["--trust-bundle", missing], /missing cannot be read: ENOENT/],
    [
      ["--access-log-file", join(missing, "log")],
      /access log cannot be opened: ENOENT.*--access-log-file/,
    ],
    [["--upstream", "0=a..b:x"], /not SERVICE\.NAMESPACE/],
    [["--publish", "80"], /--publish/],
    [["--label", "no"], /--label: "no" is not of the form KEY=VALUE/],
  ];
  for (const [more, message] of rows)
    told(t, await sidecar(options, more), message, more.join(" "));
});

void t.test("a sidecar without a way to its config says so", async (t) => {
  const directory = temporary(t);
  const file = join(directory, "file");
  writeFileSync(file, "");
  const mesh = ["--control-plane", "127.0.0.1:9"];
  const state = ["--state", join(directory, "state")];
  const rows: readonly (readonly [string[], RegExp])[] = [
    [[], /--control-plane HOST:PORT, or --resources/],
    [["--control-plane", "nonsense", ...state], /HOST:PORT/],
    [
      [...mesh, "--state", file],
      /state directory .*file.*give another with --state$/m,
    ],
    [
      [...mesh, "--state", join(file, "in")],
      /state directory .*ENOTDIR.*--state$/m,
    ],
    [
      [...mesh, ...state, "--token", "garbage"],
      /enrolment token \(--token.*whole text that `wherry token create` printed/,
    ],
    [
      [...mesh, ...state, "--token-file", join(directory, "none")],
      /--token-file .*none: ENOENT/,
    ],
    [["--config", join(directory, "none")], /--config .*none: ENOENT/],
  ];
  for (const [options, message] of rows)
    told(t, await sidecar(options), message, options.join(" "));
});

void t.test("bootstrap tokens need a directory and accounts", async (t) => {
  const state = join(temporary(t), "state");
  const rows: readonly (readonly [string[], RegExp])[] = [
    [["--bootstrap-tokens", state], /belong together/],
    [["--bootstrap-account", "web=shop/web"], /belong together/],
    [
      ["--bootstrap-tokens", state, "--bootstrap-account", "web"],
      /invalid --bootstrap-account "web": expected NAME=NAMESPACE\/ACCOUNT/,
    ],
    [
      [
        ...["--bootstrap-tokens", state],
        ...["--bootstrap-account", "web=shop/web,web=shop/other"],
      ],
      /a NAME of its own/,
    ],
  ];
  for (const [options, message] of rows)
    told(t, await controlPlane(state, options), message, options.join(" "));
});

void t.test("a control plane that cannot start says why", async (t) => {
  const directory = temporary(t);
  const port = await taken(t);
  const file = join(directory, "file");
  writeFileSync(file, "no PEM", { mode: 0o600 });
  const state = (name: string): string => join(directory, name);
  const inUse = (option: string): RegExp =>
    new RegExp(`:${port}: the port is in use \\(EADDRINUSE\\).*${option}`);
  told(
    t,
    await controlPlane(state("a"), ["--api", `127.0.0.1:${port}`]),
    inUse("--api"),
    "API",
  );
  told(
    t,
    await controlPlane(state("b"), ["--push", `127.0.0.1:${port}`]),
    inUse("--push"),
    "push",
  );
  const rows: readonly (readonly [string, string[], RegExp])[] = [
    [state("c"), ["--push", "192.0.2.1:0"], /no such address.*--push/],
    [state("c"), ["--api", "192.0.2.1:0"], /without TLS.*--api-certificate/],
    [state("c"), ["--api-certificate", file], /belong together/],
    [
      state("c"),
      ["--api-certificate", file, "--api-key", file],
      /--api-certificate, --api-key.*cannot be used/,
    ],
    [
      state("c"),
      ["--api-certificate", state("none"), "--api-key", file],
      /cannot be read: ENOENT/,
    ],
    [file, [], /state directory .*file.*--state$/m],
    [join(file, "in"), [], /state directory .*ENOTDIR.*--state$/m],
    [
      state("c"),
      ["--store", "paper"],
      /--store paper: expected sqlite or memory/,
    ],
    [
      state("c"),
      ["--profile", "x"],
      /--profile x: expected production or development/,
    ],
  ];
  for (const [where, more, message] of rows)
    told(t, await controlPlane(where, more), message, more.join(" "));
});

void t.test(
  "a directory that takes no more is no endless wait",
  { skip: process.platform !== "linux" },
  async (t) => {
    // Node's recursive mkdir never comes back there.
    told(
      t,
      await controlPlane("/proc/wherry/state"),
      /state directory \/proc\/wherry\/state cannot be used: ENOENT/,
      "procfs",
    );
    told(
      t,
      await sidecar(
        ["--control-plane", "127.0.0.1:9"],
        ["--state", "/proc/wherry"],
      ),
      /state directory \/proc\/wherry cannot be used: ENOENT/,
      "procfs",
    );
  },
);

void t.test(
  "a directory that may not be written stops the start",
  async (t) => {
    if (process.getuid?.() === 0) {
      t.pass("root may write anywhere: there is no such directory for it");
      return;
    }
    const directory = temporary(t);
    const closed = join(directory, "closed");
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    told(
      t,
      await controlPlane(join(closed, "state")),
      /EACCES.*--state/,
      "unwritable",
    );
  },
);

void t.test(
  "a certificate that the clock does not fit is told at once",
  async (t) => {
    const { startFileAgent } =
      await import("../../src/agent/files/file-agent.ts");
    const { silentLogger } = await import("../../src/core/log.ts");
    const { systemClock } = await import("../../src/core/clock.ts");
    const now = Date.now();
    for (const [validity, message] of [
      [
        { notBefore: now + HOUR, notAfter: now + 2 * HOUR },
        /not valid before .*: check the clock of this machine/,
      ],
      [
        { notBefore: now - 2 * HOUR, notAfter: now - HOUR },
        /leaf\.pem expired at .*: put its successor there/,
      ],
    ] as const) {
      const { directory } = files(t);
      const pems = authority.issue(validity);
      const path = (name: string): string => join(directory, name);
      writeFileSync(path("leaf.pem"), pems.certificateChain);
      writeFileSync(path("key.pem"), pems.privateKey, { mode: 0o600 });
      const agent = await startFileAgent({
        resources: path("mesh.yaml"),
        identity: {
          certificate: path("leaf.pem"),
          privateKey: path("key.pem"),
          trustBundle: path("bundle.pem"),
        },
        self: { name: "web-1", labels: {}, ports: {} },
        clock: systemClock,
        logger: silentLogger,
      });
      while (agent.state.value.certificateAlarm === undefined)
        await new Promise((resolve) => setImmediate(resolve));
      t.match(agent.state.value.certificateAlarm, message);
      await agent.close();
    }
  },
);

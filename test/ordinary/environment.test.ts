/** What the environment of a process is in practice: each row is a sidecar that enrols, serves both ways, and ends when it is asked to. */
import { readdir, readFile, stat } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { kill } from "node:process";
import t, { type Test } from "tap";
import { EXIT } from "../../src/core/errors.ts";
import { listening } from "../support/meshes/pair.ts";
import { call, eventually } from "../support/peers/call.ts";
import {
  startShop,
  type Environment,
  type ShopProcesses,
} from "../support/processes/shop-processes.ts";
import { needs } from "../support/processes/tools.ts";

const WITHIN = 30_000;
const needsRoot = needs(process.getuid?.() === 0 ? [] : ["root"]);

/** A prefix that does `words` before it becomes the process. */
const after = (words: string): string[] => [
  ...["bash", "-c", `${words}; exec "$@"`, "bash"],
];
/** A prefix whose process has `redirection`. */
const redirected = (redirection: string): string[] => [
  ...["bash", "-c", `exec "$@" ${redirection}`, "bash"],
];

/** As a kernel started with `ipv6.disable=1`: such a socket cannot be made. */
const NO_IPV6 = `
import ctypes, os, struct, sys
call = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
step = lambda code, yes, no, k: struct.pack("HBBI", code, yes, no, k)
steps = b"".join([
    step(0x20, 0, 0, 0), step(0x15, 0, 3, call),
    step(0x20, 0, 0, 16), step(0x15, 0, 1, 10), step(6, 0, 0, 0x50061), step(6, 0, 0, 0x7fff0000),
])
text = ctypes.create_string_buffer(steps)
program = struct.pack("HP", len(steps) // 8, ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0): sys.exit("no filter")
os.execvp(sys.argv[1], sys.argv[1:])
`;

/** What proxies of a company, its authorities and its defaults put into the environment of everything. */
const COMPANY: Readonly<Record<string, string>> = {
  NODE_OPTIONS: "--max-old-space-size=512 --dns-result-order=ipv4first",
  NODE_USE_ENV_PROXY: "1",
  NODE_TLS_REJECT_UNAUTHORIZED: "0",
  NODE_EXTRA_CA_CERTS: "/nowhere/company.pem",
  SSL_CERT_FILE: "/nowhere/company.pem",
  SSL_CERT_DIR: "/nowhere",
};

/** Takes connections that nothing should make. */
const proxied: string[] = [];
const proxy = createServer((socket: Socket) => {
  socket.once("data", (bytes) => proxied.push(bytes.toString()));
  socket.on("error", () => undefined);
});
const proxyUrl = `http://127.0.0.1:${await listening(proxy)}`;
t.teardown(() => proxy.close());

const PROXY = Object.fromEntries(
  ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [
    [name, proxyUrl],
    [name.toLowerCase(), proxyUrl],
  ]),
);

interface Row extends Environment {
  readonly name: string;
  readonly more?: readonly string[];
}

const ROWS: readonly Row[] = [
  { name: "company", environment: { ...COMPANY, ...PROXY } },
  { name: "umask-000", prefix: after("umask 000") },
  { name: "umask-077", prefix: after("umask 077") },
  { name: "no-home", prefix: ["env", "-u", "HOME", "-u", "USER"] },
  {
    name: "read-only-tmp",
    prefix: [
      ...["unshare", "--mount"],
      ...after('export TMPDIR=/mnt; mount -t tmpfs -o ro none "$TMPDIR"'),
    ],
  },
  { name: "few-files", prefix: ["prlimit", "--nofile=256:256"] },
  {
    name: "no-proc",
    prefix: ["unshare", "--mount", ...after("umount -l /proc")],
  },
  {
    name: "no-ipv6",
    prefix: ["python3", "-c", NO_IPV6],
    more: ["--host", "::", "--concurrency", "2"],
  },
  {
    name: "no-stdout",
    prefix: redirected(">&-"),
    more: ["--access-log", "all"],
  },
  {
    name: "pid-1",
    prefix: ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"],
  },
  {
    name: "nobody-reads",
    prefix: redirected("> >(true)"),
    more: ["--access-log", "all"],
  },
];

/** The control plane has what can be had at once. */
const PLANE: Environment = {
  environment: { ...COMPANY, ...PROXY, TMPDIR: "/nowhere" },
  prefix: [
    ...["prlimit", "--nofile=256:256"],
    ...["unshare", "--mount"],
    ...after("umask 000; unset HOME; umount -l /proc"),
  ],
};

void t.test("where processes start in practice", needsRoot, async (t) => {
  const shop = await startShop({
    places: { plane: PLANE, web: {}, orders: {} },
    own: Object.fromEntries(ROWS.map(({ name, more = [] }) => [name, more])),
  });
  t.teardown(() => shop.close());
  t.jobs = 3;
  await Promise.all(
    ROWS.map((row) => t.test(row.name, (t) => serves(t, shop, row))),
  );
  await t.test("nobody else reads what is kept", async (t) => {
    for (const name of ["plane", "umask-000", "umask-077"])
      t.same(await openToOthers(join(shop.directory, name)), [], name);
  });
  await t.test("asked to stop, it does, as PID 1 too", async (t) => {
    for (const name of ["pid-1", "no-stdout", "nobody-reads"]) {
      const { process } = shop.sidecar(name);
      // SIGINT: it does not wait for its application.
      kill(await ownPid(process.pid, name), "SIGINT");
      t.same(await process.untilEnded(), { code: 0, signal: null }, name);
    }
  });
  await t.test("asked twice, it ends at once", async (t) => {
    const { process } = shop.sidecar("umask-077");
    const ended = await eventually(
      "it ends",
      WITHIN,
      () => {
        // Its application stays: it would wait for that.
        process.signal("SIGTERM");
        return Promise.resolve(process.ended);
      },
      (how) => how !== undefined,
    );
    t.same(ended, { code: EXIT.stopped, signal: null });
  });
  t.same(proxied, [], "what is for the mesh does not go to a proxy");
});

/** It enrols, is called, and calls. */
async function serves(t: Test, shop: ShopProcesses, row: Row): Promise<void> {
  await shop.put("namespaces/shop/services", {
    kind: "Service",
    metadata: { name: row.name, namespace: "shop" },
    spec: {
      ports: [{ name: "http", port: 80 }],
      selector: { app: row.name },
    },
  });
  const sidecar = await shop.start(row.name, row);
  await eventually(
    `${row.name} is called`,
    WITHIN,
    () =>
      call(`http://127.0.0.1:${shop.sidecar("web").outbound}/`, {
        headers: { host: `${row.name}.shop` },
      }),
    ({ status }) => status === 200,
  );
  await eventually(
    `${row.name} calls`,
    WITHIN,
    () => shop.call(sidecar),
    ({ status }) => status === 200,
  );
  t.notMatch(sidecar.process.log, /"level":"(?:error|fatal)"/);
}

/** Files that another user may read or write. */
async function openToOthers(directory: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true });
  const modes = await Promise.all(
    names.map(async (name) => {
      const { mode } = await stat(join(directory, name));
      // Certificates are for all to see, and nobody's to change.
      return { name, open: mode & (name.endsWith(".crt") ? 0o022 : 0o077) };
    }),
  );
  return modes.flatMap(({ name, open }) =>
    open === 0 ? [] : [`${name} ${open.toString(8)}`],
  );
}

/** The process behind `unshare`, as this machine counts it. */
async function ownPid(pid: number, name: string): Promise<number> {
  if (name !== "pid-1") return pid;
  return Number(await readFile(`/proc/${pid}/task/${pid}/children`, "utf8"));
}

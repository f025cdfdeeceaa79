/** Sessions of Redis and PostgreSQL between captured applications, on ports whose protocol no Service declares: real servers, real clients. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { tmpdir } from "node:os";
import type { Test } from "tap";
import { eventually } from "../peers/call.ts";
import { findTool } from "../processes/tools.ts";
import type { CapturedMesh } from "./captured-mesh.ts";
import { watchWire } from "./wire-watch.ts";

const LINK = 15008;
const REDIS = 6379;
const POSTGRES = 5432;
/** PostgreSQL does not run as root. Not the sidecar's user, whose traffic passes. */
const NOBODY = 65534;
/** Rows that COPY sends and gets. */
const ROWS = 5000;
/** Values that go in one go, without a wait for the replies. */
const PIPELINED = 2000;
/** Milliseconds, where the machine is slow. */
const WITHIN = 60_000;

/** Without `appProtocol`: the sidecars find out what it is. */
const SERVICE = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: databases, namespace: shop }
spec:
  ports: [{ name: redis, port: ${REDIS} }, { name: postgres, port: ${POSTGRES} }]
  selector: { app: callee }
`;

/** Debian keeps the server's programs off the path. */
const POSTGRES_BIN =
  [
    ...globSync("/usr/lib/postgresql/*/bin"),
    dirname(findTool("initdb") ?? "/nowhere/initdb"),
  ].at(0) ?? "";

export const DATABASES_MISSING: readonly string[] = [
  ...["redis-server", "redis-cli", "psql"].filter(
    (name) => findTool(name) === undefined,
  ),
  ...(existsSync(join(POSTGRES_BIN, "initdb")) ? [] : ["initdb"]),
];

/** Both servers beside the callee's sidecar, both clients beside the caller's. */
export async function databaseSessions(
  t: Test,
  mesh: CapturedMesh,
): Promise<void> {
  const { network, caller, callee } = mesh;
  const folder = mkdtempSync(join(tmpdir(), "wherry-databases-"));
  chmodSync(folder, 0o755);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const home = join(folder, "postgres");
  mkdirSync(home, { mode: 0o700 });
  chownSync(home, NOBODY, NOBODY);
  const program = (name: string): string => join(POSTGRES_BIN, name);
  const nobody = { uid: NOBODY, gid: NOBODY };
  const data = join(home, "data");
  execFileSync(
    program("initdb"),
    ["--no-sync", "--auth=trust", "--username=tester", `--pgdata=${data}`],
    { ...nobody, cwd: home, stdio: "ignore" },
  );
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=database"],
      ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
      ...["-keyout", join(data, "server.key")],
      ...["-out", join(data, "server.crt")],
    ],
    { ...nobody, cwd: home, stdio: "ignore" },
  );
  const redis = callee.start([
    ...["redis-server", "--port", String(REDIS), "--save", ""],
    ...["--bind", "127.0.0.1", "--dir", folder],
  ]);
  const postgres = callee.start(
    [
      ...[program("postgres"), "-D", data, "-k", home, "-p", String(POSTGRES)],
      ...["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"],
      ...["-c", "fsync=off"],
    ],
    { uid: NOBODY },
  );
  t.teardown(() => Promise.all([redis.stop(), postgres.stop("SIGINT")]));
  await redis.prints("Ready to accept connections");
  await postgres.prints("ready to accept connections");

  const ask = async (command: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await caller.run(command);
    return code === 0 ? stdout : `${code ?? ""} ${stdout}${stderr}`;
  };
  const address = callee.ipv4;
  await mesh.apply(SERVICE);
  const shell = (script: string): Promise<string> =>
    ask(["bash", "-c", `set -o pipefail; ${script}`]);
  const sql = (mode: string, ...statements: readonly string[]) =>
    ask([
      ...["psql", "--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1"],
      `host=${address} port=${POSTGRES} user=tester dbname=postgres sslmode=${mode}`,
      ...statements.flatMap((statement) => ["-c", statement]),
    ]);

  await t.test("Redis", async (t) => {
    const cli = `redis-cli -h ${address} -p ${REDIS}`;
    await eventually(
      "Redis responds",
      WITHIN,
      () => shell(`${cli} PING`),
      (text) => text === "PONG\n",
    );
    const seen = await watchWire(network, callee, async () => {
      t.equal(await shell(`${cli} SET note plain-redis`), "OK\n");
      t.equal(await shell(`${cli} GET note`), "plain-redis\n");
    });
    t.equal(seen.packets(REDIS), 0, "nothing to or from its port");
    t.ok(seen.packets(LINK) > 0, "but over the link");
    t.notOk(seen.has("plain-redis"));
    t.match(
      await shell(
        `for n in $(seq ${PIPELINED}); do printf 'SET key:%d value-%d\\r\\n' $n $n; done | ${cli} --pipe`,
      ),
      `errors: 0, replies: ${PIPELINED}`,
    );
    t.equal(await shell(`${cli} DBSIZE`), `${PIPELINED + 1}\n`);
    t.equal(await shell(`${cli} GET key:${PIPELINED}`), `value-${PIPELINED}\n`);
  });

  await t.test("PostgreSQL", async (t) => {
    const uses = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    const seen = await watchWire(network, callee, async () => {
      t.equal(
        await sql("disable", uses, "SELECT 'plain-' || 'sql'"),
        "f\nplain-sql\n",
      );
    });
    t.equal(seen.packets(POSTGRES), 0, "nothing to or from its port");
    t.ok(seen.packets(LINK) > 0, "but over the link");
    t.notOk(seen.has("plain-sql"));
    t.equal(await sql("prefer", uses), "t\n", "TLS of its own within");
    const rows = join(folder, "rows");
    await shell(`seq ${ROWS} > ${rows}`);
    for (const mode of ["disable", "prefer"])
      t.equal(
        await sql(
          mode,
          "CREATE TEMP TABLE copied (n integer)",
          `\\copy copied FROM '${rows}'`,
          "SELECT count(*), sum(n) FROM copied",
          `\\copy copied TO '${rows}.${mode}'`,
        ),
        `CREATE TABLE\nCOPY ${ROWS}\n${ROWS}|${(ROWS * (ROWS + 1)) / 2}\nCOPY ${ROWS}\n`,
        mode,
      );
    t.equal(
      await shell(`cmp ${rows} ${rows}.disable && cmp ${rows} ${rows}.prefer`),
      "",
    );
  });

  await t.test("each session is one that the policy has judged", async (t) => {
    for (const host of [caller, callee]) {
      const records = await eventually(
        `the access log of ${host.name}`,
        WITHIN,
        () =>
          Promise.resolve(
            host.sidecar.lines.filter((line) =>
              [REDIS, POSTGRES].some((port) => line.includes(`:${port}"`)),
            ),
          ),
        (found) => found.length >= 10,
      );
      t.ok(records.length >= 10, host.name);
    }
  });
}

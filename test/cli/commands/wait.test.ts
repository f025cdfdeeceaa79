/** `wherry wait`: an application starts once its sidecar is ready, in the same process, with nothing changed for it. */
import { spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import t, { type Test } from "tap";
import { cleanEnvironment, ROOT } from "../../support/processes/demo.ts";

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly pid: number;
}

function run(args: readonly string[]): Promise<Ended> {
  const child = spawn(
    process.execPath,
    [`${ROOT}/src/wherry.js`, "wait", ...args],
    { env: cleanEnvironment(), stdio: ["ignore", "pipe", "pipe"] },
  );
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve) =>
    child.on("close", (code) =>
      resolve({ code, out, err, pid: child.pid ?? 0 }),
    ),
  );
}

/** A sidecar's pages: not ready for the first questions. Gives its port, and what it was asked for. */
async function pages(
  t: Test,
  refusals: number,
): Promise<{ readonly port: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.statusCode = asked.length > refusals ? 200 : 503;
    response.end(
      asked.length > refusals
        ? "ok\n"
        : "NOT_READY: config\nconfig no none yet\n",
    );
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve()),
  );
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: String((server.address() as AddressInfo).port), asked };
}

void t.test(
  "it waits, and becomes the application: same process, arguments, exit code, and signals by their defaults",
  async (t) => {
    const { port, asked } = await pages(t, 3);
    const { code, out, err, pid } = await run([
      ...["--metrics-port", port, "--", "sh", "-c"],
      'echo "$$ $0 $1 [$2]"; grep "Sig[IB]" /proc/self/status; exit 7',
      ...["first", "--second", "a b"],
    ]);
    t.equal(err, "");
    t.equal(code, 7);
    t.equal(out.split("\n")[0], `${pid} first --second [a b]`);
    t.match(out, /SigIgn:\t0+\n/);
    t.match(out, /SigBlk:\t0+\n/);
    t.same(asked, ["/readyz", "/readyz", "/readyz", "/readyz"]);
  },
);

void t.test("without a command it only waits", async (t) => {
  const { port, asked } = await pages(t, 1);
  t.match(await run(["--metrics-port", port, "--application"]), {
    code: 0,
    out: "",
    err: "",
  });
  t.same(asked, ["/readyz?application", "/readyz?application"]);
});

void t.test("it fails with what the sidecar said last", async (t) => {
  const { port } = await pages(t, Infinity);
  const { code, out, err } = await run([
    ...["--metrics-port", port, "--timeout", "1ms"],
    ...["--", "echo", "started"],
  ]);
  t.equal(code, 1);
  t.equal(out, "", "the application is not started");
  t.match(err, /not ready within 1 ms: NOT_READY: config\nconfig no none yet/);
});

void t.test("what cannot be is told at once", async (t) => {
  const rows: readonly (readonly [readonly string[], RegExp])[] = [
    [["--", "no-such-program"], /there is no program no-such-program/],
    [["--", "/etc/passwd"], /there is no program \/etc\/passwd/],
    [["--", "/etc"], /there is no program \/etc/],
    [["--timeout", "soon"], /invalid --timeout soon: expected a duration/],
    [
      ["--metrics-port", "1", "--timeout", "1ms"],
      /not ready within 1 ms: .*ECONNREFUSED/,
    ],
  ];
  for (const [args, message] of rows) {
    const { code, err } = await run(args);
    t.equal(code, 1, args.join(" "));
    t.match(err, message);
  }
});

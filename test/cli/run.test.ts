/** What becomes of an error, of a wrong word, of an API that is not one, and of the wish to stop. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { CliContext } from "../../src/cli/context.ts";
import { makeProgram } from "../../src/cli/run.ts";
import { showsColours } from "../../src/cli/table.ts";
import { UserError } from "../../src/core/errors.ts";
import { runCli, withServer } from "../support/control-plane/cli.ts";

const environment = { WHERRY_TOKEN: "any" };

void t.test("help is asked for, or given after a wrong word", async (t) => {
  const help = await runCli(["--help"]);
  t.equal(help.code, 0);
  for (const command of ["dev", "apply", "status", "token", "intercept"])
    t.match(help.out, new RegExp(`^  ${command}\\b`, "m"));
  t.notMatch(help.out, "demo-application", "the demo's own is not shown");
  const rows: readonly (readonly [string[], RegExp])[] = [
    [["fly"], /unknown command 'fly'/],
    [["get"], /missing required argument 'kind'/],
    [["get", "svc", "--colour"], /unknown option '--colour'[^]*--help/],
    [["status", "-o", "yaml"], /Allowed choices are json/],
    [["lint", "-o", "xml", "x"], /Allowed choices are json/],
  ];
  for (const [argv, message] of rows) {
    const { code, err } = await runCli(argv);
    t.equal(code, 1, argv.join(" "));
    t.match(err, message);
  }
  t.match((await runCli(["token", "create", "--help"])).out, /WHERRY_SERVER/);
});

void t.test("the version is that of the package", async (t) => {
  const { code, out } = await runCli(["--version"]);
  t.equal(code, 0);
  t.match(out, /^[0-9]+[.][0-9]+[.][0-9]+\n$/);
  const program = await makeProgram({} as CliContext, "--version");
  t.equal(program.commands.length, 0, "no command is loaded for it");
});

void t.test(
  "no control plane: where it was looked for, and what to do",
  async (t) => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    taken.close();
    await once(taken, "close");
    const { code, err } = await runCli(
      ["status", "--server", `http://127.0.0.1:${port}`],
      { environment },
    );
    t.equal(code, 1);
    t.equal(
      err,
      `error: no control plane responds at http://127.0.0.1:${port} (ECONNREFUSED): start one with "npm start" or "wherry control-plane", or name another with --server\n`,
    );
  },
);

void t.test("answers of what is no control plane", async (t) => {
  const answers: Record<string, readonly [number, string]> = {
    "/html": [200, "<html>"],
    "/teapot": [418, "{}"],
    "/proxy": [403, JSON.stringify({ message: "denied by the proxy" })],
    "/refusal": [
      422,
      JSON.stringify({
        kind: "Status",
        message: "no",
        details: {
          causes: [{ field: "spec.x", message: "bad" }, { message: "worse" }],
        },
      }),
    ],
  };
  const server = await withServer(t, (request, response) => {
    const path = (request.url ?? "").replace("/status", "");
    const [status, body] = answers[path] ?? [404, "{}"];
    response.writeHead(status).end(body);
  });
  const ask = (path: string, more = {}): ReturnType<typeof runCli> =>
    runCli(["status", "--server", server + path], {
      environment: { ...environment, ...more },
    });
  t.match(
    (await ask("/html")).err,
    /sends a response that is not JSON, so it is not the control plane's API: check --server/,
  );
  t.match(
    (await ask("/teapot")).err,
    /responded with 418, but not as the control plane's API does: check --server, and whether a proxy is on the way\n/,
  );
  t.match(
    (await ask("/proxy", { HTTP_PROXY: "http://proxy.example:3128" })).err,
    /responded with 403, but not as the control plane's API does \("denied by the proxy"\): the request may have gone to the proxy of HTTP_PROXY; name the control plane's host in NO_PROXY\n/,
  );
  t.equal((await ask("/refusal")).err, "error: no\n  spec.x: bad\n  worse\n");
});

void t.test("errors are red where a person watches", async (t) => {
  const { err } = await runCli(["apply"], { colours: true });
  t.match(err, /^\u001b\[31merror:\u001b\[39m what is to be applied/);
});

void t.test("NO_COLOR switches colours off where it says something", (t) => {
  for (const [value, shown] of [
    [undefined, true],
    ["", true],
    ["1", false],
  ] as const)
    t.equal(showsColours(true, { NO_COLOR: value }), shown, String(value));
  t.equal(showsColours(false, {}), false, "nobody watches");
  t.end();
});

void t.test(
  "a defect comes with its stack, a person's slip without",
  async (t) => {
    const { code, err } = await runCli(["lint", "-"], {
      print: () => {
        throw new TypeError("a defect");
      },
    });
    t.equal(code, 1);
    t.match(err, /^error: TypeError: a defect\n +at /);
  },
);

void t.test(
  "asked to stop while starting: 130, and no complaint",
  async (t) => {
    const stop = new AbortController();
    stop.abort(new UserError("stopped"));
    const state = join(t.testdir(), "state");
    const { code, err } = await runCli(
      ["dev", "--any-ports", "--state", state],
      { stop: stop.signal },
    );
    t.equal(code, 130);
    t.equal(err, "");
  },
);

void t.test("control-plane runs until it is asked to stop", async (t) => {
  const stop = new AbortController();
  const state = join(t.testdir(), "state");
  const ports = ["--api", "127.0.0.1:0", "--push", "127.0.0.1:0"];
  const running = runCli(
    [
      ...["control-plane", "--state", state, "--store", "memory"],
      ...[...ports, "--log-level", "silent"],
    ],
    { stop: stop.signal },
  );
  stop.abort(new UserError("stopped"));
  t.strictSame(await running, { code: 0, out: "", err: "" });
  const rows: readonly (readonly [string[], RegExp])[] = [
    [["--store", "paper"], /invalid --store paper: expected sqlite or memory/],
    [
      ["--profile", "test"],
      /invalid --profile test: expected production or development/,
    ],
    [["--api", "15080"], /--api: "15080" is not HOST:PORT/],
    [["--api-key", "k.pem"], /--api-certificate and --api-key belong together/],
    [
      ["--api-key", "k.pem", "--api-certificate", "c.pem"],
      /the API's certificate cannot be read: ENOENT/,
    ],
  ];
  for (const [argv, message] of rows) {
    const { code, err } = await runCli(
      ["control-plane", "--state", state, "--log-level", "silent", ...argv],
      { stop: stop.signal },
    );
    t.equal(code, 1, argv.join(" "));
    t.match(err, message);
  }
});

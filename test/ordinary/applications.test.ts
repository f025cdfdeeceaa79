/**
 * What applications and their clients do in practice, through one pair of sidecars at the same time: rows of the wire, frameworks as
 * they come, clients as they come; and what is silent for minutes, by a clock of the test's own.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import {
  Agent,
  createServer as createHttpServer,
  request as httpRequest,
  type RequestListener,
  type Server as HttpServer,
} from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fastify from "fastify";
import t from "tap";
import { freePort } from "../../src/demo/free-port.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import { listening, until, withPair } from "../support/meshes/pair.ts";
import { call, closeCalls, eventually } from "../support/peers/call.ts";
import {
  frame,
  handshake,
  RawClient,
  WebSocketApplication,
} from "../support/peers/websocket.ts";
import { cleanEnvironment, ROOT } from "../support/processes/demo.ts";
import {
  startFileSidecar,
  untilReady,
} from "../support/processes/sidecar-process.ts";
import { findTool, needs } from "../support/processes/tools.ts";
import { OPEN_MESH } from "../support/resources/yaml.ts";

const WITHIN = 30_000;
const run = promisify(execFile);
const SOURCES = join(ROOT, "test/support/processes/ordinary");
const directory = mkdtempSync(join(tmpdir(), "wherry-applications-"));
t.jobs = 8;
t.teardown(() => {
  closeCalls();
  rmSync(directory, { recursive: true, force: true });
});

/** Ports by the name of the application, which is that of its Service. */
const ports = new Map<string, number>();
const tools: Record<string, string | undefined> = {
  python: findTool("frameworks/bin/python"),
  go: findTool("go-ordinary"),
  php: findTool("php"),
  nginx: findTool("nginx"),
  java: findTool("javac") && findTool("java"),
};

// ── applications ────────────────────────────────────────────────────────────

/** Serves HTTP in this process. */
async function serveHttp(
  name: string,
  app: RequestListener,
): Promise<HttpServer> {
  const server = createHttpServer(
    { keepAliveTimeout: 1000, maxHeaderSize: 131_072 },
    app,
  );
  // What is said is what happens: Node itself holds for a second longer.
  Object.assign(server, { keepAliveTimeoutBuffer: 0 });
  ports.set(name, await listening(server));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

/** Gives a connection what it says as soon as a request's head is there, and maybe ends it. */
async function serveRaw(
  name: string,
  response: string,
  ends: boolean,
): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let head = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      head += chunk.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      head = "";
      socket.write(response, "latin1");
      if (ends) socket.end();
    });
  });
  ports.set(name, await listening(server));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

/** A process that prints its port, or listens on the one that it is given. */
async function start(
  name: string,
  command: string,
  args: readonly string[],
  port?: number,
): Promise<void> {
  const child = spawn(command, args, {
    cwd: ROOT,
    env: cleanEnvironment(),
    stdio: ["ignore", "pipe", "ignore"],
  });
  t.teardown(() => void child.kill("SIGKILL"));
  let printed = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const found = await eventually(
    `${name} listens`,
    WITHIN,
    async () => {
      const there = port ?? Number(/^\d+$/m.exec(printed)?.[0] ?? 0);
      return (await call(`http://127.0.0.1:${there}/`)).status > 0 ? there : 0;
    },
    (there) => there > 0,
  );
  ports.set(name, found);
}

const EXPRESS = `
import express from "express";
const app = express();
app.use((request, response) => {
  response.set("x-path", request.path);
  request.pipe(response);
});
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;
const FLASK = `
from flask import Flask, request
from werkzeug.serving import make_server
import logging
logging.getLogger("werkzeug").disabled = True
app = Flask("echo")
@app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
@app.route("/<path:path>", methods=["GET", "POST"])
def echo(path):
    return request.get_data(), 200, {"x-path": request.path}
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
`;
const UVICORN = `
import socket, uvicorn
async def app(scope, receive, send):
    if scope["type"] != "http": return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
    more = True
    while more:
        part = await receive()
        more = part.get("more_body", False)
        await send({"type": "http.response.body", "body": part.get("body", b""), "more_body": more})
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", http="h11")).run(sockets=[listener])
`;

/** Applications as they come, and whether they are here. */
const FRAMEWORKS = [
  "express",
  "fastify",
  "flask",
  "uvicorn",
  "go",
  "php",
  "nginx",
] as const;
const missing: Partial<Record<string, string>> = {
  ...(tools["python"] === undefined
    ? { flask: "Flask", uvicorn: "uvicorn" }
    : {}),
  ...(tools["go"] === undefined ? { go: "go-ordinary" } : {}),
  ...(tools["php"] === undefined ? { php: "php" } : {}),
  ...(tools["nginx"] === undefined ? { nginx: "nginx" } : {}),
  ...(tools["java"] === undefined ? { java: "java" } : {}),
};

async function startFrameworks(outbound: number): Promise<void> {
  const fast = fastify();
  fast.addContentTypeParser("*", (_request, payload, done) =>
    done(null, payload),
  );
  fast.all("/*", (request, reply) =>
    reply.header("x-path", request.url).send(request.body ?? ""),
  );
  await fast.listen({ host: "127.0.0.1", port: 0 });
  const address = fast.server.address();
  ports.set("fastify", typeof address === "object" ? (address?.port ?? 0) : 0);
  t.teardown(() => fast.close());
  const { python, go, php, nginx } = tools;
  const [phpPort, nginxPort, callerPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  writeFileSync(
    join(directory, "nginx.conf"),
    nginxConfig(nginxPort, callerPort, outbound),
  );
  await Promise.all([
    start("express", process.execPath, ["--input-type=module", "-e", EXPRESS]),
    ...(python === undefined
      ? []
      : [
          start("flask", python, ["-c", FLASK]),
          start("uvicorn", python, ["-c", UVICORN]),
        ]),
    ...(go === undefined ? [] : [start("go", go, [])]),
    ...(php === undefined
      ? []
      : [
          start(
            "php",
            php,
            ["-S", `127.0.0.1:${phpPort}`, join(SOURCES, "echo.php")],
            phpPort,
          ),
        ]),
    ...(nginx === undefined
      ? []
      : [
          start(
            "nginx",
            nginx,
            ["-p", directory, "-c", join(directory, "nginx.conf")],
            nginxPort,
          ),
        ]),
  ]);
  ports.set("nginx-caller", callerPort);
}

/** A server whose connections idle for a second, and a reverse proxy to the mesh, which speaks HTTP/1.0 as nginx does. */
function nginxConfig(port: number, caller: number, outbound: number): string {
  return `daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off; client_max_body_size 200m; keepalive_timeout 1s;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server { listen 127.0.0.1:${port}; location / { add_header x-path $uri; return 200 ""; } }
  server { listen 127.0.0.1:${caller}; location / { proxy_pass http://127.0.0.1:${outbound}; proxy_set_header Host $http_x_to; } }
}
`;
}

// ── the pair ────────────────────────────────────────────────────────────────

interface ProcessPair {
  readonly outbound: number;
  readonly log: () => string;
}

/** A Service an application, all behind one sidecar; and a caller's sidecar. */
async function startPair(outbound: number): Promise<ProcessPair> {
  const authority = fakeAuthority();
  const link = await freePort();
  const names = [...ports.keys()].filter((name) => name !== "nginx-caller");
  const services = names.map(
    (name) => `---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec:
  ports: [{ name: ${name}, port: 80, appProtocol: http }]
  selector: { app: orders }
`,
  );
  const workload = `---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: orders-1, namespace: shop, labels: { app: orders } }
spec:
  address: 127.0.0.1
  serviceAccount: orders
  ports: { ${names.map((name) => `${name}: ${ports.get(name) ?? 0}`).join(", ")} }
  link: { port: ${link} }
`;
  const sidecar = (app: string, more: readonly string[]) =>
    startFileSidecar({
      name: `${app}-1`,
      app,
      resources: OPEN_MESH + services.join("") + workload,
      credentials: authority.credentials(app),
      directory: join(directory, app),
      more,
    });
  const both = await Promise.all([
    sidecar("orders", [
      "--link-port",
      String(link),
      ...names.flatMap((name) => [
        "--app-port",
        `${name}=${ports.get(name) ?? 0}`,
      ]),
    ]),
    sidecar("web", ["--outbound-port", String(outbound)]),
  ]);
  t.teardown(() => Promise.all(both.map(({ process: each }) => each.stop())));
  for (const each of both)
    await untilReady("a sidecar", each, "/readyz?application");
  return {
    outbound,
    log: () => both.map(({ process: each }) => each.log).join("\n"),
  };
}

// ── rows of the wire ────────────────────────────────────────────────────────

/** What an application says of itself on the wire, and what a caller gets: the status, and the body or the reason. */
const RESPONSES: Readonly<
  Record<string, { says: string; ends?: boolean; status: number; text: RegExp }>
> = {
  "http-1-0": {
    says: "HTTP/1.0 200 OK\r\nserver: old\r\n\r\nhello",
    ends: true,
    status: 200,
    text: /^hello$/,
  },
  "close-delimited": {
    says: "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
    ends: true,
    status: 200,
    text: /^hello$/,
  },
  "length-of-204": {
    says: "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
    status: 204,
    text: /^$/,
  },
  "body-of-204": {
    says: "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
    status: 502,
    text: /^UPSTREAM_PROTOCOL: a body announced for a 1xx or 204\. .*\n$/,
  },
  "early-hints": {
    says: "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    status: 200,
    text: /^hello$/,
  },
  "not-utf-8": {
    says: "HTTP/1.1 200 OK\r\nx-name: caf\xe9\r\ncontent-length: 5\r\n\r\nhello",
    status: 200,
    text: /^hello$/,
  },
  "headers-of-60-kib": {
    says:
      `HTTP/1.1 200 OK\r\n` +
      Array.from(
        { length: 59 },
        (_, n) => `x-${n}: ${"y".repeat(1000)}\r\n`,
      ).join("") +
      "content-length: 5\r\n\r\nhello",
    status: 200,
    text: /^hello$/,
  },
};

for (const [name, { says, ends = false }] of Object.entries(RESPONSES))
  await serveRaw(name, says, ends);
await serveHttp("echo", (request, response) => {
  response.setHeader("x-name", request.headers["x-name"] ?? "");
  request.pipe(response);
});
/** Told when "brief" is about to close a connection that was idle for 1 s. */
let closes = (): void => undefined;
const brief = await serveHttp("brief", (request, response) => {
  request.pipe(response);
});
brief.on("timeout", (socket: Socket) => {
  closes();
  socket.end();
});
const outbound = await freePort();
await startFrameworks(outbound);
const pair = await startPair(outbound);
const urlOf = (path = "/"): string =>
  `http://127.0.0.1:${pair.outbound}${path}`;
// The handshake of the link has 1 s, for which a machine that starts all of these may be too busy.
await eventually(
  "the pair serves",
  WITHIN,
  () => call(urlOf(), { headers: { host: "echo.shop" } }),
  ({ status }) => status === 200,
);
const to = (name: string): { host: string } => ({ host: `${name}.shop` });

/** What a caller gets that says `text` and waits for the end of the connection. */
async function raw(text: string): Promise<string> {
  const socket = connect(pair.outbound, "127.0.0.1");
  let got = "";
  socket.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
  socket.write(text, "latin1");
  await once(socket, "close");
  return got;
}

for (const [name, { status, text }] of Object.entries(RESPONSES))
  void t.test(`an application: ${name}`, async (t) => {
    for (const time of ["once", "again"]) {
      const got = await raw(
        `GET / HTTP/1.1\r\nHost: ${name}.shop\r\nConnection: close\r\n\r\n`,
      );
      const [, code, body = ""] =
        /^(?:HTTP\/1\.1 103 [^]*?\r\n\r\n)?HTTP\/1\.1 (\d+) [^]*?\r\n\r\n([^]*)$/.exec(
          got,
        ) ?? [];
      t.equal(Number(code), status, `${time}: ${got.slice(0, 500)}`);
      t.match(body.replace(/^5\r\nhello\r\n0\r\n\r\n$/, "hello"), text, time);
      if (name === "not-utf-8") t.match(got, "caf\xe9");
    }
  });

void t.test("a caller of HTTP/1.0", async (t) => {
  const got = await raw(
    "POST / HTTP/1.0\r\nHost: echo.shop\r\nContent-Length: 5\r\n\r\nhello",
  );
  t.match(got, /^HTTP\/1\.[01] 200 /);
  t.notMatch(got, /transfer-encoding/i, "it does not know chunks");
  t.ok(got.endsWith("\r\n\r\nhello"));
});

void t.test("a caller that waits for 100 (Continue)", async (t) => {
  const request = httpRequest(urlOf(), {
    method: "POST",
    headers: { ...to("echo"), expect: "100-continue", "content-length": 5 },
  });
  request.flushHeaders();
  await once(request, "continue");
  request.end("hello");
  const [response] = (await once(request, "response")) as [
    NodeJS.ReadableStream,
  ];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  t.equal(text, "hello");
});

void t.test("values that are not UTF-8, and 60 KiB of them", async (t) => {
  const got = await raw(
    `GET / HTTP/1.1\r\nHost: echo.shop\r\nConnection: close\r\nX-Name: caf\xe9\r\n${Array.from({ length: 60 }, (_, n) => `X-${n}: ${"y".repeat(1000)}\r\n`).join("")}\r\n`,
  );
  t.match(got, /^HTTP\/1\.1 200 /, got.slice(0, 500));
  t.match(got, "\r\nx-name: caf\xe9\r\n");
});

void t.test("100 MB both ways", async (t) => {
  const part = Buffer.alloc(1_000_000, "x");
  const request = httpRequest(urlOf(), {
    method: "POST",
    headers: to("echo"),
    agent: false,
  });
  let received = 0;
  const over = new Promise<void>((resolve, reject) => {
    request.on("error", reject);
    request.on("response", (response) => {
      response.on("data", (chunk: Buffer) => (received += chunk.length));
      response.on("error", reject);
      response.on("end", resolve);
    });
  });
  for (let index = 0; index < 100; index += 1)
    if (!request.write(part)) await once(request, "drain");
  request.end();
  await over;
  t.equal(received, 100_000_000);
});

void t.test("an application that keeps connections for 1 s", async (t) => {
  const post = (): ReturnType<typeof call> =>
    call(urlOf(), { method: "POST", headers: to("brief"), body: "hello" });
  for (const round of ["first", "second", "third"]) {
    const results = await Promise.all(Array.from({ length: 20 }, post));
    t.strictSame(
      new Set(results.map((each) => `${each.status} ${each.text}`)),
      new Set(["200 hello"]),
    );
    // In the moment in which it closes its first connection, on which a request may be.
    await new Promise<void>((resolve) => (closes = resolve));
    t.equal((await post()).status, 200, round);
  }
});

// ── frameworks and clients ──────────────────────────────────────────────────

for (const name of FRAMEWORKS)
  void t.test(
    `an application of ${name}`,
    needs(missing[name] === undefined ? [] : [missing[name]]),
    async (t) => {
      const body = "b".repeat(100_000);
      const chunked = {
        ...to(name),
        "content-type": "text/plain",
        "transfer-encoding": "chunked",
      };
      t.match(
        await call(urlOf("/a/b?c=d"), { headers: to(name) }),
        { status: 200, text: "", headers: { "x-path": /^\/a\/b/ } },
        "GET",
      );
      t.match(
        await call(urlOf("/a"), { method: "HEAD", headers: to(name) }),
        { status: 200, text: "" },
        "HEAD",
      );
      for (const headers of [
        { ...to(name), "content-type": "text/plain" },
        chunked,
      ])
        t.match(
          await posted(headers, body),
          { status: 200, length: name === "nginx" ? 0 : body.length },
          JSON.stringify(headers),
        );
    },
  );

/** Node writes chunks where no length is said. */
function posted(
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<{ status: number; length: number }> {
  return new Promise((resolve, reject) => {
    const framed =
      "transfer-encoding" in headers
        ? {}
        : { "content-length": String(body.length) };
    const request = httpRequest(
      urlOf("/p"),
      { method: "POST", headers: { ...headers, ...framed }, agent: false },
      (response) => {
        let length = 0;
        response.on("data", (chunk: Buffer) => (length += chunk.length));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, length }),
        );
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

const CLIENTS: Readonly<Record<string, () => Promise<string>>> = {
  go: async () =>
    (
      await run(tools["go"] ?? "", ["http://echo.shop/"], {
        env: { ...cleanEnvironment(), HTTP_PROXY: urlOf(), NO_PROXY: "" },
      })
    ).stdout,
  java: async () =>
    (
      await run("java", [
        "-XX:TieredStopAtLevel=1",
        join(SOURCES, "Calls.java"),
        String(pair.outbound),
        "http://echo.shop/",
      ])
    ).stdout,
};

for (const [name, calls] of Object.entries(CLIENTS))
  void t.test(
    `a client in ${name}`,
    needs(missing[name] === undefined ? [] : [missing[name]]),
    async (t) => {
      t.equal(await calls(), "200 0\n200 100000\n");
    },
  );

void t.test(
  "nginx in front, which speaks HTTP/1.0",
  needs(missing["nginx"] === undefined ? [] : ["nginx"]),
  async (t) => {
    const caller = `http://127.0.0.1:${ports.get("nginx-caller") ?? 0}/`;
    for (const name of ["echo", "flask", "close-delimited"].filter((each) =>
      ports.has(each),
    ))
      t.match(
        await call(caller, {
          method: "POST",
          headers: { "x-to": `${name}.shop` },
          body: "hello",
          // nginx ends a connection that was idle for 1 s.
          agent: new Agent(),
        }),
        { status: 200, text: "hello" },
        name,
      );
  },
);

// ── silent for minutes, by a clock of the test's own ────────────────────────

const SECOND = 1000;

/** Lets `seconds` pass in both sidecars, and all that each half of a second brings happen before the next. */
async function pass(clock: FakeClock, seconds: number): Promise<void> {
  for (let half = 0; half < 2 * seconds; half += 1) {
    clock.advance(SECOND / 2);
    for (let turn = 0; turn < 8; turn += 1)
      await new Promise((resolve) => setImmediate(resolve));
  }
}

void t.test(
  "first byte after 90 s, an event stream idle for 3 min",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const waiting: (() => void)[] = [];
    const app: RequestListener = (request, response) => {
      if (request.url === "/events") {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write("data: first\n\n");
      }
      waiting.push(() => response.end("data: last\n\n"));
    };
    await withPair({ clock, app: () => app }, async ({ caller }) => {
      const url = `http://127.0.0.1:${caller.ports.outbound ?? 0}`;
      const headers = { host: "orders.shop" };
      const late = call(`${url}/late`, { headers });
      const events = call(`${url}/events`, { headers });
      await until(() => waiting.length === 2);
      await pass(clock, 90);
      waiting[0]?.();
      waiting.splice(0, 1);
      await pass(clock, 90);
      waiting[0]?.();
      const both = await Promise.all([late, events]);
      t.same(
        both.map(({ status }) => status),
        [200, 200],
      );
      t.same(
        both.map(({ text }) => text.endsWith("data: last\n\n")),
        [true, true],
      );
    });
  },
);

void t.test("a WebSocket idle for 6 min", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  const app = new WebSocketApplication();
  await withPair({ clock, rawApp: () => app.accept }, async ({ caller }) => {
    const client = await RawClient.open(
      caller.ports.outbound ?? 0,
      handshake(),
    );
    await until(() => client.status === 101);
    await pass(clock, 360);
    client.socket.write(frame(0x81, "still there", true));
    await until(() => client.frames.length === 1 || client.closed);
    t.match(client.frames[0]?.payload.toString(), "still there");
    client.socket.destroy();
  });
});

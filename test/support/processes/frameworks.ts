/** Applications in the frameworks that people use, as processes of their own: what a sidecar lets through is what these make of it. */
import { spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { cleanEnvironment } from "./demo.ts";
import { eventually } from "../peers/call.ts";
import { findTool } from "./tools.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** Each prints its port first, then a line for each request that it executes: METHOD PATH, and "role ROLE" where it reads an x-role. */
const APPLICATIONS = {
  flask: `
from flask import Flask, request
from werkzeug.serving import make_server
import logging
logging.getLogger("werkzeug").disabled = True
app = Flask("orders")
ALL = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
@app.route("/", defaults={"path": ""}, methods=ALL)
@app.route("/<path:path>", methods=ALL)
def execute(path):
    print(request.method, request.path, flush=True)
    if "X-Role" in request.headers:
        print("role", request.headers["X-Role"], flush=True)
    return "done"
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
`,
  uvicorn: `
import socket, uvicorn
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    print(scope["method"], scope["path"], flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", http="h11")).run(sockets=[listener])
`,
  express: `
import express from "express";
const app = express();
app.use((request, response) => {
  console.log(request.method + " " + request.path);
  const role = request.get("x-role");
  if (role !== undefined) console.log("role " + role);
  response.send("done");
});
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
`,
  wsgiref: `
from wsgiref.simple_server import make_server, WSGIRequestHandler
class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass
def app(environ, start):
    print(environ["REQUEST_METHOD"], environ["PATH_INFO"], flush=True)
    if "HTTP_X_ROLE" in environ:
        print("role", environ["HTTP_X_ROLE"], flush=True)
    start("200 OK", [("Content-Length", "4")])
    return [b"done"]
server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
`,
} as const;

export type Framework = keyof typeof APPLICATIONS | "php" | "go";
export const FRAMEWORKS: readonly Framework[] = ["flask", "uvicorn", "express"];

const PHP = fileURLToPath(new URL("php/orders.php", import.meta.url));

/** Express is among the packages; Flask and uvicorn have a Python of their own. */
function commandOf(framework: Framework): readonly [string, string[]] {
  switch (framework) {
    case "express":
      return [
        process.execPath,
        ["--input-type=module", "-e", APPLICATIONS.express],
      ];
    case "php":
      return ["php", ["-S", "127.0.0.1:0", PHP]];
    case "go":
      return [findTool("go-peer") ?? "go-peer", ["roles"]];
    case "wsgiref":
      return ["python3", ["-c", APPLICATIONS.wsgiref]];
    case "flask":
    case "uvicorn":
      return [python() ?? "python3", ["-c", APPLICATIONS[framework]]];
  }
}

/** The Python that has them: `.ci/run` makes it. */
const python = (): string | undefined => findTool("frameworks/bin/python");

/** What is missing here, for `needs`. */
export function missingFor(framework: Framework): readonly string[] {
  switch (framework) {
    case "express":
      return [];
    case "php":
    case "wsgiref": {
      const program = framework === "php" ? "php" : "python3";
      return findTool(program) === undefined ? [program] : [];
    }
    case "go":
      return findTool("go-peer") === undefined ? ["go-peer"] : [];
    case "flask":
    case "uvicorn":
      return python() === undefined ? ["Flask and uvicorn"] : [];
  }
}

export interface RunningFramework {
  /** "METHOD PATH" of each request that it has executed. */
  readonly executed: readonly string[];
  /** The x-role of each request that it has executed, as it reads it. */
  readonly roles: readonly string[];
  /** Carries a connection there, for `rawApp` of a pair. */
  readonly accept: (socket: Socket) => void;
  stop(): Promise<void>;
}

export async function startFramework(
  framework: Framework,
): Promise<RunningFramework> {
  const child = spawn(...commandOf(framework), {
    cwd: ROOT,
    env: cleanEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  let complaints = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const port = await eventually(
    `${framework} listens`,
    20_000,
    () => {
      if (child.exitCode !== null) throw new Error(complaints);
      const php = /\(http:\/\/127\.0\.0\.1:(\d+)\) started/.exec(
        complaints,
      )?.[1];
      return Promise.resolve(Number(php ?? /^\d+$/m.exec(printed)?.[0] ?? 0));
    },
    (number) => number > 0,
  );
  return {
    get executed() {
      return printed.split("\n").filter((line) => /^\S+ \//.test(line));
    },
    get roles() {
      return [...printed.matchAll(/^role (.*)$/gm)].map(
        ([, role = ""]) => role,
      );
    },
    accept(socket) {
      const there = connect(port, "127.0.0.1");
      for (const end of [socket, there]) end.on("error", () => undefined);
      socket.pipe(there).pipe(socket);
    },
    async stop() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

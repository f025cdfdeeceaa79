/** An application in a process of its own that stops answering when it is told to, and goes on when it is told so. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { cleanEnvironment } from "./demo.ts";

/** "stop": the process is stopped (SIGSTOP). "hang": it reads and never answers. "drip": a byte of each response now and then. */
export type Fault = "stop" | "hang" | "drip";

export interface StallingApplication {
  /** Carries a connection to it. */
  accept(socket: Socket): void;
  begin(fault: Fault): void;
  end(fault: Fault): void;
  close(): void;
}

const ITSELF = fileURLToPath(import.meta.url);

export async function startStallingApplication(): Promise<StallingApplication> {
  const child = fork(ITSELF, [], {
    env: cleanEnvironment(),
    execArgv: ["--no-warnings"],
  });
  const [port] = (await once(child, "message")) as [number];
  return {
    accept(socket) {
      const there = connect({ port, host: "127.0.0.1" });
      socket.pipe(there).pipe(socket);
      socket.on("error", () => there.destroy());
      there.on("error", () => socket.destroy());
      socket.on("close", () => there.destroy());
      there.on("close", () => socket.destroy());
    },
    begin: (fault) => change(child, fault, "SIGSTOP", fault),
    end: (fault) => change(child, fault, "SIGCONT", "well"),
    close() {
      child.kill("SIGKILL");
    },
  };
}

function change(
  child: ChildProcess,
  fault: Fault,
  signal: NodeJS.Signals,
  mode: string,
): void {
  if (fault === "stop") child.kill(signal);
  else child.send(mode);
}

/** Milliseconds between two bytes of a response that drips. */
const DRIP = 100;

function serve(): void {
  let mode = "well";
  process.on("message", (told: string) => (mode = told));
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      if (mode === "hang") return;
      response.setHeader("content-length", 1000);
      if (mode === "drip") drip(response);
      else response.end("x".repeat(1000));
    });
  });
  server.keepAliveTimeout = 60_000;
  process.on("disconnect", () => {
    server.close();
    server.closeAllConnections();
  });
  server.listen(0, "127.0.0.1", () =>
    process.send?.((server.address() as AddressInfo).port),
  );
}

function drip(response: ServerResponse): void {
  const timer = setInterval(() => response.write("x"), DRIP);
  response.on("close", () => clearInterval(timer));
}

if (process.argv[1] === ITSELF) serve();

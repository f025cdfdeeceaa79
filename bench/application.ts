/** The server that the proxies lead to: nginx, one worker, answers of several sizes; or one that repeats messages. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../src/core/clock.ts";
import { fileURLToPath } from "node:url";
import { pinnedTo, SERVER_PORT, type Speech } from "./peer.ts";
import { start, type Command, type Running } from "./processes.ts";
import { program } from "./tools.ts";

export interface Application {
  /** Speaks it from here on. */
  speak(speech: Speech): Promise<void>;
  stop(): Promise<void>;
}

const SMALL = 130;
/** Where bodies are read to their end before there is an answer. */
export const READS_BODY = "/read";
/** Path → bytes. */
export const BODIES: Readonly<Record<string, number>> = {
  "/64k": 64 * 1024,
  "/1m": 1024 * 1024,
  "/4m": 4 * 1024 * 1024,
};

export async function openApplication(
  parent: string,
  cores: string | undefined,
  clock: Clock,
): Promise<Application> {
  const directory = join(parent, "application");
  await mkdir(join(directory, "bodies"), { recursive: true });
  for (const [path, bytes] of Object.entries({ ...BODIES, [READS_BODY]: 0 }))
    await writeFile(join(directory, "bodies", path), "x".repeat(bytes));
  let running: Running | undefined;
  let spoken: Speech | undefined;
  return {
    async speak(speech) {
      if (spoken === speech) return;
      await running?.stop();
      const command = await server(directory, speech);
      running = await start({ ...command, ...pinnedTo(cores) }, clock);
      spoken = speech;
    },
    async stop() {
      await running?.stop();
    },
  };
}

const ECHO = fileURLToPath(new URL("echo/server.ts", import.meta.url));

async function server(directory: string, speech: Speech): Promise<Command> {
  const common = { name: "the application", port: SERVER_PORT };
  switch (speech) {
    case "websocket":
    case "grpc":
    case "tcp":
      return {
        ...common,
        command: process.execPath,
        args: [ECHO, speech, String(SERVER_PORT)],
      };
    case "http/1.1":
    case "h2": {
      const file = join(directory, "nginx.conf");
      await writeFile(file, configuration(directory, speech));
      const args = ["-c", file, "-p", directory];
      return { ...common, command: program("nginx"), args };
    }
  }
}

function configuration(directory: string, protocol: "http/1.1" | "h2"): string {
  const bodies = Object.keys(BODIES)
    .map((path) => `location = ${path} { root ${directory}/bodies; }`)
    .join(" ");
  // "return" answers before the body is there, and what a proxy makes of that is another question. The mirror has nginx read it first; static
  // files take no POST, which is turned into the answer.
  const small = `return 200 "${"x".repeat(SMALL)}";`;
  return `daemon off; user root; worker_processes 1; worker_rlimit_nofile 16384; pid ${directory}/nginx.pid; error_log ${directory}/nginx.log;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_temp_path ${directory}/body; client_max_body_size 0;
  client_body_buffer_size 2m; default_type text/plain; sendfile on; tcp_nodelay on; http2_max_concurrent_streams 1024; http2_recv_timeout 1h;
  server { listen 127.0.0.1:${SERVER_PORT} ${protocol === "h2" ? "http2 " : ""}backlog=4096; ${bodies}
    location = ${READS_BODY} { root ${directory}/bodies; mirror /mirrored; mirror_request_body on; error_page 405 =200 /answer; }
    location = /mirrored { internal; return 204; } location = /answer { internal; ${small} } location / { ${small} } } }
`;
}

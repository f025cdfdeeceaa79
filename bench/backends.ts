/** What stands around the proxies: the server that they lead to, and the collector that takes their spans. */
import { createServer } from "node:http";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../src/core/clock.ts";
import { OTLP_PORT, SERVER_PORT } from "./peer.ts";
import { start, type Running } from "./processes.ts";

/** nginx, one worker, 130 bytes of body, connections that stay. */
export async function startServer(
  directory: string,
  core: string | undefined,
  clock: Clock,
): Promise<Running> {
  const file = join(directory, "nginx.conf");
  await writeFile(
    file,
    `daemon off; worker_processes 1; pid ${join(directory, "nginx.pid")}; error_log ${join(directory, "nginx.log")};
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_temp_path ${join(directory, "body")};
  server { listen 127.0.0.1:${SERVER_PORT} backlog=4096; location / { default_type text/plain; return 200 "${"x".repeat(130)}"; } } }
`,
  );
  return start(
    {
      name: "nginx",
      command: "nginx",
      args: ["-c", file, "-p", directory],
      port: SERVER_PORT,
      ...(core === undefined ? {} : { core }),
    },
    clock,
  );
}

/** Takes every export and forgets it; runs in the benchmark's own process. */
export function startCollector(): Promise<{ close(): void }> {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () =>
      response
        .writeHead(200, { "content-type": "application/x-protobuf" })
        .end(),
    );
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(OTLP_PORT, "127.0.0.1", () =>
      resolve({ close: () => void server.close() }),
    );
  });
}

/** A pair of nginx: HTTP/1.1 over mutual TLS between the two, since nginx speaks no HTTP/2 to upstreams. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  INBOUND_PORT,
  OUTBOUND_PORT,
  pinnedTo,
  SERVER_PORT,
  type Found,
  type PeerSettings,
} from "../peer.ts";
import type { Command } from "../processes.ts";
import { findProgram, says, versionIn } from "../tools.ts";

export async function nginxPair(settings: PeerSettings): Promise<Found> {
  const binary = findProgram("nginx");
  if (binary === undefined)
    return { kind: "missing", name: "nginx", why: "Debian: nginx-light" };
  if (settings.apps === "h2")
    return {
      kind: "missing",
      name: "nginx",
      why: "it speaks no HTTP/2 to upstreams",
    };
  const { root, caller, callee } = settings.certificates;
  const command = async (
    side: string,
    port: number,
    servers: string,
  ): Promise<Command> => {
    const directory = join(settings.directory, `nginx-${side}`);
    await mkdir(directory, { recursive: true });
    const file = join(directory, "nginx.conf");
    await writeFile(file, configuration(directory, settings.workers, servers));
    return {
      name: `nginx, ${side}`,
      command: binary,
      args: ["-c", file, "-p", directory],
      port,
      ...pinnedTo(settings.cores),
    };
  };
  return {
    kind: "peer",
    peer: {
      name: "nginx",
      version: versionIn(says("nginx", "-v")),
      features: new Set(["mtls", "retry", "outlier", "balancer", "access-log"]),
      outbound: await command(
        "outbound",
        OUTBOUND_PORT,
        `upstream peer { least_conn; keepalive 256; keepalive_requests 1000000000; server 127.0.0.1:${INBOUND_PORT} max_fails=5; }
  server { listen 127.0.0.1:${OUTBOUND_PORT} backlog=4096; location / { proxy_pass https://peer; proxy_next_upstream error timeout http_500 http_502 http_503 http_504; proxy_next_upstream_tries 3;
    proxy_ssl_certificate ${caller.certificate}; proxy_ssl_certificate_key ${caller.key}; proxy_ssl_trusted_certificate ${root}; proxy_ssl_protocols TLSv1.3; } }`,
      ),
      inbound: await command(
        "inbound",
        INBOUND_PORT,
        `upstream app { keepalive 256; keepalive_requests 1000000000; server 127.0.0.1:${SERVER_PORT}; }
  server { listen 127.0.0.1:${INBOUND_PORT} ssl backlog=4096; ssl_certificate ${callee.certificate}; ssl_certificate_key ${callee.key}; ssl_client_certificate ${root};
    ssl_verify_client on; ssl_protocols TLSv1.3; ssl_session_tickets off; location / { proxy_pass http://app; } }`,
      ),
    },
  };
}

function configuration(
  directory: string,
  workers: number,
  servers: string,
): string {
  return `daemon off; user root; worker_processes ${workers}; worker_rlimit_nofile 16384; pid ${directory}/nginx.pid; error_log ${directory}/error.log;
events { worker_connections 12000; }
http { log_format json escape=json '{"method":"$request_method","path":"$request_uri","status":$status,"duration":$request_time,"bytes":$bytes_sent,"upstream":"$upstream_addr"}';
  access_log /dev/null json buffer=64k flush=1s; keepalive_requests 1000000000; keepalive_timeout 1h; client_max_body_size 0; client_body_buffer_size 2m;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_temp_path ${directory}/proxy; client_body_temp_path ${directory}/body;
  ${servers} }
`;
}

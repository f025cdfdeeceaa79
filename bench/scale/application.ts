/** The application behind every endpoint that answers: one nginx on many addresses of loopback, which says on which it was called. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pinnedTo } from "../peer.ts";
import { start, type Running } from "../processes.ts";
import { program } from "../tools.ts";
import { PORTS, type Surroundings } from "./layout.ts";
import { answeringAddress, workloadsOf, type Shape } from "./mesh.ts";

export async function startApplication(
  shape: Shape,
  { directory, cores, clock }: Surroundings,
): Promise<Running> {
  const folder = join(directory, "application");
  await mkdir(folder, { recursive: true });
  const file = join(folder, "nginx.conf");
  await writeFile(file, configuration(folder, placesOf(shape)));
  return start(
    {
      name: "the application",
      command: program("nginx"),
      args: ["-c", file, "-p", folder],
      port: PORTS.application,
      ...pinnedTo(cores.load),
    },
    clock,
  );
}

function placesOf(shape: Shape): string[] {
  const [moving] = shape.used;
  return [
    // What tells that it is up.
    `127.0.0.1:${PORTS.application}`,
    ...[...shape.used, ...shape.fresh].flatMap((service) =>
      Array.from({ length: workloadsOf(shape, service) }, (_, index) => {
        const address = answeringAddress(shape, service, index) ?? "";
        return service === moving
          ? [`${address}:${PORTS.application}`, `${address}:${PORTS.elsewhere}`]
          : [`${address}:${PORTS.application}`];
      }).flat(),
    ),
  ];
}

function configuration(folder: string, places: readonly string[]): string {
  return `daemon off; user root; worker_processes 1; worker_rlimit_nofile 16384; pid ${folder}/nginx.pid; error_log ${folder}/nginx.log;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_temp_path ${folder}/body; default_type text/plain; tcp_nodelay on;
  server { ${places.map((place) => `listen ${place};`).join(" ")}
    location / { add_header x-port $server_port; return 200 "${"x".repeat(130)}"; } } }
`;
}

/** The interoperability suite of gRPC as grpc-go has it: its server, its client, and the cases that need no credentials of their own. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { cleanEnvironment } from "./demo.ts";
import { findTool } from "./tools.ts";

const SERVER = findTool("grpc-interop/server") ?? "";
const CLIENT = findTool("grpc-interop/client") ?? "";
export const INTEROP_MISSING: readonly string[] =
  SERVER === "" || CLIENT === "" ? ["grpc-interop"] : [];

/**
 * All that grpc-go's own script runs, which has none of compression. Left out: `pick_first_unary`, for which its server gives no
 * identity, and those of TLS, ALTS and OAuth.
 */
export const CASES: readonly string[] = [
  ...["empty_unary", "large_unary", "client_streaming", "server_streaming"],
  ...["ping_pong", "empty_stream", "timeout_on_sleeping_server"],
  ...["cancel_after_begin", "cancel_after_first_response"],
  ...["status_code_and_message", "special_status_message", "custom_metadata"],
  ...["unimplemented_method", "unimplemented_service"],
  ...["orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak"],
];

/** Its server listens on all addresses; on 0 the system chooses the port, which it prints. */
export function serverCommand(port: number): readonly string[] {
  return [SERVER, "-port", String(port)];
}

/** The Service of a server at `port` behind the sidecar of `app`. */
export function serviceOf(app: string, port: number): string {
  return `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: interop, namespace: shop }
spec:
  ports: [{ name: grpc, port: ${port}, appProtocol: grpc }]
  selector: { app: ${app} }
`;
}

/** Ends with 0 where the case holds, else with 1 and the reason on standard error. */
export function clientCommand(
  host: string,
  port: number,
  name: string,
): readonly string[] {
  return [
    CLIENT,
    ...["-server_host", host, "-server_port", String(port)],
    ...["-test_case", name],
    // The cases named "orca" want it, the others do not mind.
    "-service_config_json",
    '{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}',
    // Of the cases named "soak", whose default is a second a call: a slow machine is no failure.
    ...["-soak_per_iteration_max_acceptable_latency_ms", "60000"],
    ...["-soak_overall_timeout_seconds", "120"],
  ];
}

/** Why the case does not hold; "" where it does. */
export function runCase(port: number, name: string): Promise<string> {
  const [file = "", ...args] = clientCommand("127.0.0.1", port, name);
  return new Promise((resolve) => {
    const options = { env: cleanEnvironment(), timeout: 120_000 };
    execFile(file, args, options, (error, _stdout, stderr) =>
      resolve(error === null ? "" : `${error.message}${stderr}`),
    );
  });
}

export interface InteropServer {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startServer(): Promise<InteropServer> {
  const [file = "", ...args] = serverCommand(0);
  const child = spawn(file, args, {
    env: cleanEnvironment({ GRPC_GO_LOG_SEVERITY_LEVEL: "info" }),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const gone = once(child, "exit");
  let port = 0;
  for await (const line of createInterface({ input: child.stderr })) {
    port = Number(/server listening on .*:([0-9]+)$/.exec(line)?.[1] ?? 0);
    if (port > 0) break;
  }
  child.stderr.resume();
  if (port === 0) throw new Error("the interop server does not listen");
  return {
    port,
    async stop() {
      child.kill();
      await gone;
    },
  };
}

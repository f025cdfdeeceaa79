/** Open Policy Agent with its plugin for Envoy: a real provider of authorization over gRPC, and by its API over HTTP. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../src/demo/free-port.ts";
import { eventually } from "../peers/call.ts";
import { cleanEnvironment } from "./demo.ts";
import { findTool } from "./tools.ts";

const TOOL = findTool("opa-envoy");
export const OPA_MISSING: readonly string[] =
  TOOL === undefined ? ["opa-envoy"] : [];

export interface Opa {
  /** Of `envoy.service.auth.v3.Authorization`. */
  readonly grpc: string;
  /** Of its own API. */
  readonly api: string;
  stop(): Promise<void>;
}

/** `policy` in Rego; its rule `shop.authz.allow` answers the plugin. */
export async function startOpa(policy: string): Promise<Opa> {
  if (TOOL === undefined) throw new Error("there is no opa-envoy");
  const folder = await mkdtemp(join(tmpdir(), "wherry-opa-"));
  const file = join(folder, "policy.rego");
  await writeFile(file, policy);
  const grpc = `127.0.0.1:${await freePort()}`;
  const api = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    TOOL,
    [
      ...["run", "--server", "--addr", api, "--log-level", "error"],
      ...["--disable-telemetry", "--diagnostic-addr", "127.0.0.1:0"],
      ...["--set", `plugins.envoy_ext_authz_grpc.addr=${grpc}`],
      ...["--set", "plugins.envoy_ext_authz_grpc.path=shop/authz/allow"],
      file,
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "ignore", "inherit"] },
  );
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await eventually(
      "OPA is ready",
      60_000,
      () =>
        fetch(`http://${api}/health?plugins`).then(
          ({ status }) => status,
          () => 0,
        ),
      (status) => status === 200,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { grpc, api, stop };
}

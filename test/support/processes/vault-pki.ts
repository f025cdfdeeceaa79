/** The PKI engine of Vault as a process (`vault/main.go`), with a root of its own, and the role that the guide tells to make. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cleanEnvironment, ROOT } from "./demo.ts";
import { findTool } from "./tools.ts";

const TOOL = findTool("vault-pki");
export const VAULT_MISSING: readonly string[] =
  TOOL === undefined ? ["vault-pki"] : [];

export type VaultRole = Readonly<Record<string, string>>;

export interface Vault {
  /** "http://127.0.0.1:1234/v1/pki" */
  readonly url: string;
  readonly tokenFile: string;
  readonly rootsFile: string;
  /** As `vault write pki/roles/NAME`. */
  writeRole(name: string, role: VaultRole): Promise<void>;
  kill(): Promise<void>;
  /** Starts it again, at the same address, with what it has kept. */
  revive(): Promise<void>;
  close(): Promise<void>;
}

const TOKEN = "hvs.test";

export async function startVault(): Promise<Vault> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-vault-"));
  let engine = await startEngine(directory, "127.0.0.1:0");
  const { address } = engine;
  const url = `http://${address}/v1/pki`;
  const write = async (path: string, data: VaultRole): Promise<void> => {
    const response = await fetch(`${url}/${path}`, {
      method: "POST",
      headers: { "x-vault-token": TOKEN },
      body: JSON.stringify(data),
    });
    if (!response.ok)
      throw new Error(`${path}: ${response.status} ${await response.text()}`);
  };
  const vault: Vault = {
    url,
    tokenFile: join(directory, "token"),
    rootsFile: join(directory, "roots.pem"),
    writeRole: (name, role) => write(`roles/${name}`, role),
    kill: () => engine.kill(),
    async revive() {
      engine = await startEngine(directory, address);
    },
    async close() {
      await engine.kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    await write("root/generate/internal", {
      ...{ common_name: "Root of a company", ttl: "8760h" },
      ...{ key_type: "ec", key_bits: "256", not_before_duration: "24h" },
    });
    const roots = await fetch(`${url}/ca/pem`);
    await writeFile(vault.rootsFile, `${await roots.text()}\n`);
    await writeFile(vault.tokenFile, TOKEN, { mode: 0o600 });
    return vault;
  } catch (thrown) {
    await vault.close();
    throw thrown;
  }
}

async function startEngine(
  directory: string,
  listen: string,
): Promise<{ address: string; kill: () => Promise<void> }> {
  if (TOOL === undefined) throw new Error("there is no vault-pki");
  const child = spawn(
    TOOL,
    [
      ...["--listen", listen, "--token", TOKEN],
      ...["--storage", join(directory, "storage")],
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "pipe", "inherit"] },
  );
  const gone = once(child, "exit");
  const [address] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    gone.then(() => {
      throw new Error("the PKI engine ended before it listened");
    }),
  ])) as [string];
  return {
    address,
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/** What `vault write pki/roles/ROLE` is given in the guide. */
export function roleOfGuide(): VaultRole {
  const page = readFileSync(join(ROOT, "config/guide/security.md"), "utf8");
  const command = /^vault write pki\/roles\/ROLE (.*?)^```/ms.exec(page)?.[1];
  if (command === undefined) throw new Error("the guide has no role of Vault");
  return Object.fromEntries(
    [...command.matchAll(/(\w+)=(?:'([^']*)'|(\S+))/g)].map(
      ([, name = "", quoted, plain = ""]) => [name, quoted ?? plain],
    ),
  );
}

/** Runs the tools that change and print packet rules. */
import { execFile } from "node:child_process";
import { messageOf, systemCode, UserError } from "../../core/errors.ts";

/** Resolves with what the tool prints. */
export function run(
  name: string,
  args: readonly string[],
  input = "",
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      name,
      args,
      { timeout: 30_000 },
      (error, output, complaint) => {
        if (error === null) resolve(output);
        else if (systemCode(error) === "ENOENT") reject(new MissingTool(name));
        else
          reject(
            new UserError(
              `${name}: ${complaint.trim() || messageOf(error)}. It needs root, or CAP_NET_ADMIN in this network namespace`,
            ),
          );
      },
    );
    // A tool that ends before it has read everything says by its exit status what became of it.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}

const PACKAGES: Readonly<Record<string, string>> = {
  nft: "nftables",
  ip: "iproute2",
};

export class MissingTool extends UserError {
  constructor(tool: string) {
    const name = PACKAGES[tool] ?? "iptables";
    super(
      `${tool} is not installed: the package ${name} has it. Rules for one family alone would leave a way around the sidecar`,
    );
  }
}

export async function isInstalled(tool: string): Promise<boolean> {
  try {
    await run(tool, ["--version"]);
    return true;
  } catch (error) {
    if (error instanceof MissingTool) return false;
    throw error;
  }
}

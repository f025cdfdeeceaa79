/** The two ways to set packet rules, and which of them this machine has. */
import { UserError } from "../../core/errors.ts";
import * as iptables from "./iptables.ts";
import * as nft from "./nft.ts";
import type { Family, Interception } from "./rules.ts";
import { isInstalled, run } from "./tools.ts";

export const BACKENDS = ["iptables", "nft"] as const;
export type BackendName = (typeof BACKENDS)[number];

/** The rules of one family as a tool reads them; undefined: they are to be taken away. */
export type Wanted = Interception | undefined;

export interface Backend {
  readonly name: BackendName;
  /** A heading and the rules, for people; as where none stand. */
  show(wanted: Wanted, family: Family): string;
  /** All families are tried before the first takes effect: rules for one alone would be a way around the sidecar. */
  install(wanted: Wanted, families: readonly Family[]): Promise<void>;
  /** Whether any of our rules stands. */
  stands(families: readonly Family[]): Promise<boolean>;
  /** What is missing of the rules, or stands otherwise. */
  flaws(wanted: Interception, family: Family): Promise<readonly string[]>;
}

const TOOLS: Readonly<
  Record<Family, { readonly save: string; readonly restore: string }>
> = {
  ipv4: { save: "iptables-save", restore: "iptables-restore" },
  ipv6: { save: "ip6tables-save", restore: "ip6tables-restore" },
};

async function saved(family: Family): Promise<string> {
  let text = "";
  for (const table of iptables.TABLES)
    text += await run(TOOLS[family].save, ["-t", table]);
  return text;
}

function iptablesRules(
  wanted: Wanted,
  family: Family,
  standing: string,
): string {
  return wanted === undefined
    ? iptables.removalRules(standing)
    : iptables.interceptionRules(wanted, family, standing);
}

const IPTABLES: Backend = {
  name: "iptables",
  show: (wanted, family) =>
    `# ${TOOLS[family].restore} --noflush\n${iptablesRules(wanted, family, "")}`,
  async install(wanted, families) {
    const plans = new Map<Family, string>();
    for (const family of families)
      plans.set(family, iptablesRules(wanted, family, await saved(family)));
    for (const mode of [["--test"], []])
      for (const [family, rules] of plans)
        await run(
          TOOLS[family].restore,
          [...mode, "--noflush", "--wait", "5"],
          rules,
        );
  },
  async stands(families) {
    for (const family of families)
      if (iptables.stands(await saved(family))) return true;
    return false;
  },
  flaws: async (wanted, family) =>
    iptables.flawsIn(wanted, family, await saved(family)),
};

function nftScript(wanted: Wanted, family: Family): string {
  return wanted === undefined
    ? nft.removalScript(family)
    : nft.interceptionScript(wanted, family);
}

async function listed(family: Family): Promise<string> {
  const tables = await run("nft", ["list", "tables"]);
  const [list, table, ...name] = nft.listing(family);
  return tables.split("\n").includes(`${table ?? ""} ${name.join(" ")}`)
    ? run("nft", [list ?? "", table ?? "", ...name])
    : "";
}

const NFT: Backend = {
  name: "nft",
  show: (wanted, family) => `# nft -f -\n${nftScript(wanted, family)}`,
  async install(wanted, families) {
    // One script is one transaction, of all families.
    const script = families.map((family) => nftScript(wanted, family)).join("");
    await run("nft", ["-f", "-"], script);
  },
  async stands(families) {
    for (const family of families)
      if ((await listed(family)) !== "") return true;
    return false;
  },
  flaws: async (wanted, family) =>
    nft.flawsIn(wanted, family, await listed(family)),
};

const ALL: Readonly<Record<BackendName, Backend>> = {
  iptables: IPTABLES,
  nft: NFT,
};

const PROBES: Readonly<Record<BackendName, string>> = {
  iptables: TOOLS.ipv4.save,
  nft: "nft",
};

export function backendNamed(name: string): Backend {
  const found = BACKENDS.find((each) => each === name);
  if (found === undefined)
    throw new UserError(
      `invalid --backend ${name}: expected ${BACKENDS.join(" or ")}`,
    );
  return ALL[found];
}

/** Those whose tools are there, the first to be taken first. */
export async function backendsHere(): Promise<readonly Backend[]> {
  const found: Backend[] = [];
  for (const name of BACKENDS)
    if (await isInstalled(PROBES[name])) found.push(ALL[name]);
  if (found.length === 0)
    throw new UserError(
      "neither iptables nor nft is installed: the packages iptables and nftables have them",
    );
  return found;
}

/** The rules as iptables-restore reads them, and what iptables-save prints of them. */
import type { Family, Interception, Place, Rule } from "./rules.ts";
import { addDifferences, rulesOf } from "./rules.ts";

interface Chain {
  readonly table: Table;
  readonly chain: string;
  readonly hook: string;
  /** Its jumps come before others. */
  readonly first?: true;
  /** Packets that are led to it; absent: TCP. */
  readonly matches?: readonly string[];
}

/** Where each chain of our own stands, and what leads to it. */
const CHAINS: Readonly<Record<Place, Chain>> = {
  // First of all, before what other tools do with such questions: Docker has rules for them in its containers.
  names: {
    ...{ table: "nat", chain: "WHERRY_NAMES", hook: "OUTPUT", first: true },
    matches: ["-p udp -m udp --dport 53", "-p tcp -m tcp --dport 53"],
  },
  outbound: { table: "nat", chain: "WHERRY_OUTPUT", hook: "OUTPUT" },
  inbound: { table: "nat", chain: "WHERRY_INBOUND", hook: "PREROUTING" },
  invalid: { table: "mangle", chain: "WHERRY_INVALID", hook: "PREROUTING" },
};

export type Table = "nat" | "mangle";

export const TABLES: readonly Table[] = ["nat", "mangle"];

const PLACES: readonly Place[] = ["names", "outbound", "inbound", "invalid"];

/**
 * For one family. `saved` is what iptables-save prints of the tables now: a jump that stands is not added again, and a chain that is
 * declared is emptied first, so that the second time gives the same rules.
 */
export function interceptionRules(
  interception: Interception,
  family: Family,
  saved: string,
): string {
  const rules = rulesOf(interception, family);
  return transactions((place) => {
    const own = rules.filter((rule) => rule.place === place);
    if (own.length === 0) return removalOf(place, saved);
    const { hook, first } = CHAINS[place];
    return [
      ...jumpsOf(place, saved, false).map((jump) =>
        first === true
          ? `-I ${hook} 1${jump.slice(hook.length)}`
          : `-A ${jump}`,
      ),
      ...own.map((rule) => `-A ${textOf(rule)}`),
    ];
  });
}

/** Takes the jumps and the chains away; what is not there is passed over. */
export function removalRules(saved: string): string {
  return transactions((place) => removalOf(place, saved));
}

/** Nothing of what is seldom set, where it is not. */
function removalOf(place: Place, saved: string): readonly string[] {
  const { chain } = CHAINS[place];
  if (place === "names" && !saved.includes(chain)) return [];
  return [
    ...jumpsOf(place, saved, true).map((jump) => `-D ${jump}`),
    `-X ${chain}`,
  ];
}

/** What is missing of the rules, or stands otherwise, in words. */
export function flawsIn(
  interception: Interception,
  family: Family,
  saved: string,
): readonly string[] {
  const lines = saved.split("\n");
  const flaws: string[] = [];
  const rules = rulesOf(interception, family);
  for (const place of PLACES)
    if (rules.some((rule) => rule.place === place))
      for (const jump of jumpsOf(place, saved, false))
        flaws.push(`no rule "${jump}"`);
    else
      for (const jump of jumpsOf(place, saved, true))
        flaws.push(`rule "${jump}" is not one of these`);
  for (const place of PLACES) {
    const { chain } = CHAINS[place];
    const stands = lines
      .filter((line) => line.startsWith(`-A ${chain} `))
      .map((line) => line.slice("-A ".length));
    const wanted = rules.filter((rule) => rule.place === place).map(textOf);
    addDifferences(flaws, chain, stands, wanted);
  }
  return flaws;
}

/** Whether any of ours stands. */
export function stands(saved: string): boolean {
  return PLACES.some((place) => saved.includes(CHAINS[place].chain));
}

function textOf({ place, iptables }: Rule): string {
  return `${CHAINS[place].chain} ${iptables}`;
}

/** Those to a chain that stand, or do not. */
function jumpsOf(
  place: Place,
  saved: string,
  standing: boolean,
): readonly string[] {
  const { hook, chain, matches = ["-p tcp"] } = CHAINS[place];
  const lines = saved.split("\n");
  return matches
    .map((match) => `${hook} ${match} -j ${chain}`)
    .filter((jump) => lines.includes(`-A ${jump}`) === standing);
}

/** Either all lines of a table take effect or none. */
function transactions(linesOf: (place: Place) => readonly string[]): string {
  return TABLES.flatMap((table) => {
    const places = PLACES.filter(
      (place) => CHAINS[place].table === table && linesOf(place).length > 0,
    );
    // With the jumps first, no chain is taken away that something leads to.
    const lines = places.flatMap(linesOf);
    return [
      `*${table}`,
      ...places.map((place) => `:${CHAINS[place].chain} - [0:0]`),
      ...lines.filter((line) => !line.startsWith("-X")),
      ...lines.filter((line) => line.startsWith("-X")),
      "COMMIT",
      "",
    ];
  }).join("\n");
}

/** The rules as nft reads them: a table of our own for each family, and what nft prints of it. */
import {
  addDifferences,
  rulesOf,
  type Family,
  type Interception,
  type Place,
  type Rule,
} from "./rules.ts";

const NAMES: Readonly<Record<Family, string>> = {
  ipv4: "ip wherry",
  ipv6: "ip6 wherry",
};

/** The priorities are those of iptables' tables nat and mangle. */
const CHAINS: Readonly<
  Record<Place, { readonly name: string; readonly hook: string }>
> = {
  // Before the other: whichever sets a destination first is the one.
  names: { name: "names", hook: "type nat hook output priority -110" },
  outbound: { name: "outbound", hook: "type nat hook output priority -100" },
  inbound: { name: "inbound", hook: "type nat hook prerouting priority -100" },
  invalid: {
    name: "invalid",
    hook: "type filter hook prerouting priority -150",
  },
};

const PLACES: readonly Place[] = ["names", "outbound", "inbound", "invalid"];

/** The arguments that print the table. */
export function listing(family: Family): readonly string[] {
  return ["list", "table", ...NAMES[family].split(" ")];
}

/** One transaction: whatever stood in the table gives way. */
export function interceptionScript(
  interception: Interception,
  family: Family,
): string {
  const rules = rulesOf(interception, family);
  const chains = PLACES.flatMap((place) => {
    const { name, hook } = CHAINS[place];
    const lines = rules
      .filter((rule) => rule.place === place)
      .map((rule) => `    ${rule.nft} comment "${commentOf(rule)}"`);
    if (lines.length === 0) return [];
    return [
      `  chain ${name} {`,
      `    ${hook}; policy accept;`,
      ...lines,
      "  }",
    ].join("\n");
  });
  return `${removalScript(family)}table ${NAMES[family]} {\n${chains.join("\n")}\n}\n`;
}

/** A table that is made first can be deleted whether it stood or not. */
export function removalScript(family: Family): string {
  const name = NAMES[family];
  return `add table ${name}\ndelete table ${name}\n`;
}

/** What is missing of the rules, or stands otherwise, in words; `listed` is "" where there is no such table. */
export function flawsIn(
  interception: Interception,
  family: Family,
  listed: string,
): readonly string[] {
  const flaws: string[] = [];
  for (const place of PLACES) {
    const { name, hook } = CHAINS[place];
    const [, chain = ""] = listed.split(`chain ${name} {`);
    const body = chain.split("}", 1)[0] ?? "";
    const wanted = rulesOf(interception, family).filter(
      (rule) => rule.place === place,
    );
    if (wanted.length === 0 && body === "") continue;
    // nft prints some priorities by their names.
    const [type] = hook.split(" priority");
    if (!body.includes(type ?? hook))
      flaws.push(`no chain ${name} with ${hook}`);
    const stands = statementsOf(body);
    addDifferences(
      flaws,
      name,
      stands.map(({ name: stated }) => stated),
      wanted.map(commentOf),
    );
    for (const rule of wanted)
      for (const { name: stated, text } of stands)
        if (stated === commentOf(rule) && wordsOf(text) !== wordsOf(rule.nft))
          flaws.push(`rule "${stated}" is another one: ${text}`);
  }
  return flaws;
}

/** The rules of a chain as nft prints them, by their comments; one without is known by its text. */
function statementsOf(
  body: string,
): readonly { readonly name: string; readonly text: string }[] {
  return body
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("type "))
    .map((line) => {
      const [, text = line, name = line] =
        /^(.*) comment "([^"]*)"$/.exec(line) ?? [];
      return { name, text };
    });
}

/** Without what nft may print otherwise than it was said: that a range is one address. */
function wordsOf(text: string): string {
  return text.replace(/\/(?:32|128)(?= |$)/, "");
}

function commentOf({ place, name }: Rule): string {
  return `${place}: ${name}`;
}

/** The packet rules of transparent capture as nft reads them: the same as iptables', in a table of our own. */
import t from "tap";
import {
  flawsIn,
  interceptionScript,
  listing,
  removalScript,
} from "../../../src/cli/intercept/nft.ts";
import { FAMILIES, rulesOf } from "../../../src/cli/intercept/rules.ts";

const STATED = {
  proxyUid: 1337,
  outboundPort: 15001,
  inboundPort: 15006,
  excludedInbound: [15008, 22],
  excludedOutbound: [5432],
  excludedAddresses: ["10.1.2.3/8", "fd00::7/8"],
  names: { port: 15053, servers: ["127.0.0.53", "2001:db8::53"] },
};

void t.test("a family's rules, in one table that gives way first", (t) => {
  for (const family of FAMILIES) {
    const script = interceptionScript(STATED, family);
    const table = listing(family).slice(2).join(" ");
    t.ok(
      script.startsWith(
        `add table ${table}\ndelete table ${table}\ntable ${table} {\n`,
      ),
    );
    t.ok(script.startsWith(removalScript(family)));
    const lines = script.split("\n").filter((line) => line.includes("comment"));
    t.strictSame(
      lines.map((line) => line.trim().replace(/ comment ".*"$/, "")),
      rulesOf(STATED, family).map(({ nft }) => nft),
    );
  }
  const [ipv4 = "", ipv6 = ""] = FAMILIES.map((family) =>
    interceptionScript(STATED, family),
  );
  for (const protocol of ["udp", "tcp"]) {
    t.match(
      ipv4,
      ` ip daddr 127.0.0.53 ${protocol} dport 53 redirect to :15053`,
    );
    t.match(
      ipv6,
      ` ip6 daddr 2001:db8::53 ${protocol} dport 53 redirect to :15053`,
    );
  }
  const { names: _, ...plain } = STATED;
  t.notMatch(interceptionScript(plain, "ipv4"), "chain names");
  t.strictSame(
    flawsIn(plain, "ipv4", interceptionScript(plain, "ipv4")),
    [],
    "names are nobody's where they are not captured",
  );
  t.match(flawsIn(plain, "ipv4", ipv4), [/names: .* is not one of these/]);
  t.match(ipv4, " ip daddr 10.0.0.0/8 return");
  t.match(ipv6, " ip6 daddr fd00::/8 return");
  t.match(ipv6, " ip6 daddr fe80::/10 return");
  t.notMatch(ipv4, "ip6");
  t.end();
});

void t.test("what is missing or strange is told", (t) => {
  const script = interceptionScript(STATED, "ipv4");
  t.strictSame(flawsIn(STATED, "ipv4", script), []);
  t.ok(flawsIn(STATED, "ipv4", "").length > 10, "no table");
  const lines = script.split("\n");
  for (const [index, line] of lines.entries()) {
    const [, comment] = /comment "(.*)"/.exec(line) ?? [];
    if (comment !== undefined)
      t.strictSame(
        flawsIn(STATED, "ipv4", lines.toSpliced(index, 1).join("\n")),
        [`no rule "${comment}"`],
      );
  }
  for (const [own, other] of [
    ["redirect to :15001", "redirect to :16001"],
    ["redirect to :15006", "return"],
    ["meta skuid 1337 return", "meta skuid != 1337 return"],
    ["meta skuid 1337 return", "return"],
    ["ip daddr 10.0.0.0/8 return", "ip daddr 0.0.0.0/1 return"],
    ["tcp dport 22 return", "tcp dport 1-65535 return"],
    ["tcp dport 22 return", "tcp dport { 22, 8080 } return"],
    ['oifname "lo" return', 'oifname "eth0" return'],
    ["meta l4proto tcp redirect", "redirect"],
  ] as const)
    t.ok(
      flawsIn(STATED, "ipv4", script.replace(own, other)).length > 0,
      `${own}: ${other}`,
    );
  t.strictSame(
    flawsIn(
      STATED,
      "ipv4",
      script.replace(
        "    tcp dport 5432",
        "    ip daddr 172.16.0.0/12 return\n    tcp dport 5432",
      ),
    ),
    ['rule "ip daddr 172.16.0.0/12 return" is not one of these'],
    "one without our comment",
  );
  // As nft prints it.
  const one = { ...STATED, excludedAddresses: ["10.1.2.3/32"] };
  const printed = interceptionScript(one, "ipv4")
    .replace("10.1.2.3/32 return", "10.1.2.3 return")
    .replace("priority -150", "priority mangle");
  t.strictSame(flawsIn(one, "ipv4", printed), []);
  t.match(flawsIn({ ...STATED, excludedInbound: [15008] }, "ipv4", script), [
    /inbound: port 22" is not one of these/,
  ]);
  t.match(
    flawsIn(STATED, "ipv4", script.replace("hook output", "hook input")),
    [/no chain names/],
  );
  const at = lines.findIndex((line) => line.includes("comment"));
  const [first = "", second = ""] = lines.slice(at);
  t.match(
    flawsIn(STATED, "ipv4", lines.toSpliced(at, 2, second, first).join("\n")),
    [/another order/],
  );
  t.end();
});

/** The packet rules of transparent capture as iptables reads them: which packets they name, in which order, and that they can be set twice. */
import t from "tap";
import {
  flawsIn,
  interceptionRules,
  removalRules,
  stands,
} from "../../../src/cli/intercept/iptables.ts";
import {
  FAMILIES,
  type Family,
  type Interception,
} from "../../../src/cli/intercept/rules.ts";
import { UserError } from "../../../src/core/errors.ts";

const PLAIN: Interception = {
  proxyUid: 1337,
  outboundPort: 15001,
  inboundPort: 15006,
  excludedInbound: [15008, 15020],
  excludedOutbound: [],
  excludedAddresses: [],
};

/** The `nat` table of a machine where nobody has set a rule, as iptables-save prints it. */
const EMPTY = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
COMMIT
`;
const INSTALLED = EMPTY.replace(
  "COMMIT",
  "-A PREROUTING -p tcp -j WHERRY_INBOUND\n-A OUTPUT -p tcp -j WHERRY_OUTPUT\nCOMMIT",
).replace(
  "COMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n",
  "COMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j WHERRY_INVALID\n",
);

/** The rules of one chain, in their order, without its name. */
function chain(rules: string, name: string): string[] {
  return rules
    .split("\n")
    .filter((line) => line.startsWith(`-A ${name} `))
    .map((line) => line.slice(`-A ${name} `.length));
}

void t.test("a family's rules, in the order that packets meet them", (t) => {
  const loopback = "-o lo -j RETURN";
  const expected: Record<Family, { outbound: string[]; inbound: string[] }> = {
    ipv4: {
      outbound: [
        "-m owner --uid-owner 1337 -j RETURN",
        loopback,
        "-p tcp -j REDIRECT --to-ports 15001",
      ],
      inbound: [
        "-i lo -j RETURN",
        "-m addrtype ! --dst-type LOCAL -j RETURN",
        "-p tcp -m tcp --dport 15008 -j RETURN",
        "-p tcp -m tcp --dport 15020 -j RETURN",
        "-p tcp -j REDIRECT --to-ports 15006",
      ],
    },
    ipv6: {
      outbound: [
        "-m owner --uid-owner 1337 -j RETURN",
        loopback,
        "-d fe80::/10 -j RETURN",
        "-p tcp -j REDIRECT --to-ports 15001",
      ],
      inbound: [
        "-i lo -j RETURN",
        "-m addrtype ! --dst-type LOCAL -j RETURN",
        "-p tcp -m tcp --dport 15008 -j RETURN",
        "-p tcp -m tcp --dport 15020 -j RETURN",
        "-p tcp -j REDIRECT --to-ports 15006",
      ],
    },
  };
  for (const family of FAMILIES) {
    const rules = interceptionRules(PLAIN, family, EMPTY);
    t.strictSame(chain(rules, "WHERRY_OUTPUT"), expected[family].outbound);
    t.strictSame(chain(rules, "WHERRY_INBOUND"), expected[family].inbound);
    t.strictSame(chain(rules, "OUTPUT"), ["-p tcp -j WHERRY_OUTPUT"]);
    t.strictSame(chain(rules, "PREROUTING"), [
      "-p tcp -j WHERRY_INBOUND",
      "-p tcp -j WHERRY_INVALID",
    ]);
    t.strictSame(chain(rules, "WHERRY_INVALID"), [
      "-m conntrack --ctstate INVALID -m addrtype --dst-type LOCAL -j DROP",
    ]);
  }
  t.end();
});

void t.test("what is stated is left alone", (t) => {
  const ports = {
    ...PLAIN,
    proxyUid: 2000,
    outboundPort: 16001,
    inboundPort: 16006,
    excludedInbound: [22, 15008, 22, 9],
    excludedOutbound: [5432],
  };
  const rules = interceptionRules(ports, "ipv4", EMPTY);
  const portsOf = (name: string): string[] =>
    chain(rules, name).flatMap((rule) => /--dport (\d+)/.exec(rule)?.[1] ?? []);
  t.strictSame(portsOf("WHERRY_INBOUND"), ["9", "22", "15008"]);
  t.strictSame(portsOf("WHERRY_OUTPUT"), ["5432"]);
  t.match(rules, "--uid-owner 2000");
  t.match(rules, "--to-ports 16001");
  t.match(rules, "--to-ports 16006");
  t.end();
});

void t.test("an excluded range goes to the family that it is of", (t) => {
  const interception = {
    ...PLAIN,
    excludedAddresses: ["10.0.0.0/8", "fd00::/8", "169.254.169.254/32"],
  };
  const rangesOf = (family: Family): string[] =>
    chain(
      interceptionRules(interception, family, EMPTY),
      "WHERRY_OUTPUT",
    ).flatMap((rule) => /^-d (\S+) -j RETURN$/.exec(rule)?.[1] ?? []);
  t.strictSame(rangesOf("ipv4"), ["10.0.0.0/8", "169.254.169.254/32"]);
  t.strictSame(rangesOf("ipv6"), ["fe80::/10", "fd00::/8"]);
  for (const range of ["10.0.0.1", "10.0.0.0/33", "net", "", "1 -j ACCEPT/8"])
    t.throws(
      () =>
        interceptionRules(
          { ...PLAIN, excludedAddresses: [range] },
          "ipv4",
          EMPTY,
        ),
      UserError,
      `"${range}" is no range`,
    );
  t.end();
});

void t.test("what is missing or strange is told", (t) => {
  const rules = interceptionRules(PLAIN, "ipv4", EMPTY);
  t.strictSame(flawsIn(PLAIN, "ipv4", rules), []);
  t.ok(stands(rules));
  t.notOk(stands(EMPTY));
  const lines = rules.split("\n");
  for (const [index, line] of lines.entries())
    if (line.startsWith("-A"))
      t.match(flawsIn(PLAIN, "ipv4", lines.toSpliced(index, 1).join("\n")), [
        `no rule "${line.slice(3)}"`,
      ]);
  t.match(flawsIn({ ...PLAIN, proxyUid: 1 }, "ipv4", rules), [
    /no rule .* 1 -j/,
    /1337 -j RETURN" is not one of these/,
  ]);
  const at = lines.findIndex((line) => line.includes("--uid-owner"));
  const [first = "", second = ""] = lines.slice(at);
  t.match(
    flawsIn(PLAIN, "ipv4", lines.toSpliced(at, 2, second, first).join("\n")),
    [/another order/],
  );
  t.end();
});

void t.test("one transaction that empties the chains it fills", (t) => {
  for (const family of FAMILIES) {
    const lines = interceptionRules(PLAIN, family, EMPTY).split("\n");
    t.equal(lines[0], "*nat");
    // iptables-restore(8): with --noflush, a chain that is named so is made or emptied, and no other is touched.
    t.strictSame(
      lines.filter((line) => line.startsWith(":")),
      [
        ":WHERRY_OUTPUT - [0:0]",
        ":WHERRY_INBOUND - [0:0]",
        ":WHERRY_INVALID - [0:0]",
      ],
    );
    t.strictSame(lines.slice(-2), ["COMMIT", ""]);
  }
  t.end();
});

void t.test("a jump that stands is not added again", (t) => {
  const again = interceptionRules(PLAIN, "ipv4", INSTALLED);
  t.strictSame(chain(again, "OUTPUT"), []);
  t.strictSame(chain(again, "PREROUTING"), []);
  t.equal(chain(again, "WHERRY_OUTPUT").length, 3);
  const half = interceptionRules(
    PLAIN,
    "ipv4",
    INSTALLED.replace("-A OUTPUT -p tcp -j WHERRY_OUTPUT\n", ""),
  );
  t.strictSame(chain(half, "OUTPUT"), ["-p tcp -j WHERRY_OUTPUT"]);
  t.strictSame(chain(half, "PREROUTING"), []);
  t.end();
});

void t.test("removing takes what stands, whatever that is", (t) => {
  const rows: [string, string, string[]][] = [
    [
      "all",
      INSTALLED,
      [
        "OUTPUT -p tcp -j WHERRY_OUTPUT",
        "PREROUTING -p tcp -j WHERRY_INBOUND",
        "PREROUTING -p tcp -j WHERRY_INVALID",
      ],
    ],
    ["nothing", EMPTY, []],
    [
      "one jump",
      INSTALLED.replace("-A OUTPUT -p tcp -j WHERRY_OUTPUT\n", ""),
      [
        "PREROUTING -p tcp -j WHERRY_INBOUND",
        "PREROUTING -p tcp -j WHERRY_INVALID",
      ],
    ],
  ];
  for (const [what, saved, jumps] of rows) {
    const lines = removalRules(saved).split("\n");
    t.strictSame(
      lines.filter((line) => line.startsWith("-D ")),
      jumps.map((jump) => `-D ${jump}`),
      what,
    );
    t.strictSame(
      lines.filter((line) => line.startsWith("-X ")),
      ["-X WHERRY_OUTPUT", "-X WHERRY_INBOUND", "-X WHERRY_INVALID"],
      `${what}: the chains go after the jumps to them`,
    );
    t.ok(
      lines.indexOf("-X WHERRY_OUTPUT") >
        lines.indexOf("-D PREROUTING -p tcp -j WHERRY_INBOUND"),
    );
    t.ok(
      lines.indexOf("-X WHERRY_INVALID") >
        lines.indexOf("-D PREROUTING -p tcp -j WHERRY_INVALID"),
    );
    t.notMatch(lines.join("\n"), "-A ");
  }
  t.end();
});

void t.test("questions for names come first, where they are captured", (t) => {
  const names = { port: 15053, servers: ["127.0.0.53", "2001:db8::53"] };
  const wanted = { ...PLAIN, names };
  for (const [family, server] of [
    ["ipv4", "127.0.0.53/32"],
    ["ipv6", "2001:db8::53/128"],
  ] as const) {
    const rules = interceptionRules(wanted, family, EMPTY);
    t.strictSame(chain(rules, "WHERRY_NAMES"), [
      "-m owner --uid-owner 1337 -j RETURN",
      `-d ${server} -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053`,
      `-d ${server} -p tcp -m tcp --dport 53 -j REDIRECT --to-ports 15053`,
    ]);
    for (const protocol of ["udp", "tcp"])
      t.match(
        rules,
        `-I OUTPUT 1 -p ${protocol} -m ${protocol} --dport 53 -j WHERRY_NAMES\n`,
      );
    const standing = rules
      .replaceAll("-I OUTPUT 1", "-A OUTPUT")
      .split("\n")
      .sort()
      .reverse()
      .join("\n");
    t.notMatch(
      interceptionRules(wanted, family, standing),
      "-I OUTPUT",
      "a jump that stands is not added again",
    );
    t.match(
      flawsIn(PLAIN, family, standing).join(),
      /--dport 53 -j WHERRY_NAMES" is not one of these/,
    );
    const without = interceptionRules(PLAIN, family, standing);
    for (const rules of [without, removalRules(standing)]) {
      t.match(rules, "-D OUTPUT -p udp -m udp --dport 53 -j WHERRY_NAMES\n");
      t.match(rules, "-D OUTPUT -p tcp -m tcp --dport 53 -j WHERRY_NAMES\n");
      t.match(rules, "-X WHERRY_NAMES\n");
    }
  }
  t.notMatch(interceptionRules(PLAIN, "ipv4", EMPTY), "WHERRY_NAMES");
  t.notMatch(removalRules(EMPTY), "WHERRY_NAMES");
  const four = { ...PLAIN, names: { port: 15053, servers: ["192.0.2.1"] } };
  t.notMatch(interceptionRules(four, "ipv6", EMPTY), "WHERRY_NAMES");
  t.end();
});

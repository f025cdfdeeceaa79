/** Packet rules of both tools, in namespaces: set twice, proven, each missed where it is missing, and taken away without a trace. */
import t, { type Test } from "tap";
import { WHERRY } from "../support/meshes/captured-mesh.ts";
import { eventually } from "../support/peers/call.ts";
import {
  makeNetwork,
  whyNoHosts,
  type Daemon,
  type Host,
  type Network,
} from "../support/meshes/hosts.ts";
import { ROOT } from "../support/processes/demo.ts";
import { findTool } from "../support/processes/tools.ts";

const BACKENDS = ["iptables", "nft"] as const;

const LONG = { timeout: 300_000 };

const STATED = [
  ...["--exclude-outbound", "5432", "--exclude-inbound", "22"],
  ...["--exclude-address", "203.0.113.0/24", "--exclude-address", "fd77::/64"],
  ...[
    "--dns-port",
    "15053",
    "--dns-server",
    "127.0.0.53,203.0.113.53,fd77::53",
  ],
];

/** All that is set in a namespace, by either tool; chains without a rule are no difference. */
async function everyRule(host: Host): Promise<string> {
  const lines: string[] = [];
  for (const command of [
    ["iptables-save"],
    ["ip6tables-save"],
    ["nft", "list", "tables"],
  ]) {
    const { stdout } = await host.run(command);
    const wanted = command[0] === "nft" ? /wherry/ : /^-A|^:WHERRY/;
    lines.push(...stdout.split("\n").filter((line) => wanted.test(line)));
  }
  return lines.join("\n");
}

/**
 * In the namespace: sets all rules but one, for each of them, and prints what the look at the rules says and, where `calls`, what
 * calls of its own find.
 */
const EACH_MISSING = `
const [root, backend, family, calls] = process.argv.slice(1);
const load = (file) => import(root + "/src/" + file);
const { systemClock } = await load("core/clock.ts");
const { backendNamed } = await load("cli/intercept/backends.ts");
const { interceptionRules } = await load("cli/intercept/iptables.ts");
const { interceptionScript } = await load("cli/intercept/nft.ts");
const { bypasses } = await load("cli/intercept/verify.ts");
const { run } = await load("cli/intercept/tools.ts");
const interception = {
  proxyUid: 1337, outboundPort: 15001, inboundPort: 15006,
  excludedInbound: [15008], excludedOutbound: [5432],
  excludedAddresses: [family === "ipv4" ? "203.0.113.0/24" : "fd77::/64"],
  names: { port: 15053, servers: [family === "ipv4" ? "203.0.113.53" : "fd77::53"] },
};
const tool = backendNamed(backend);
const text = backend === "nft" ? interceptionScript(interception, family) : interceptionRules(interception, family, "");
const isRule = (line) => backend === "nft" ? line.includes("comment") : /^-[AI]/.test(line);
const lines = text.split("\\n");
const set = (some) => backend === "nft"
  ? run("nft", ["-f", "-"], some.join("\\n"))
  : run(family === "ipv4" ? "iptables-restore" : "ip6tables-restore", ["--noflush"], some.join("\\n"));
const tell = async (rule) => {
  const flaws = await tool.flaws(interception, family);
  const found = calls === "calls" ? await bypasses(interception, family, systemClock) : [];
  console.log(JSON.stringify({ rule, flaws, found }));
};
for (const [index, line] of lines.entries()) {
  if (!isRule(line)) continue;
  await set(lines.toSpliced(index, 1));
  await tell(line.trim());
  await tool.install(undefined, [family]);
}
await set(lines);
await tell("");
await tool.install(undefined, [family]);
console.log("cleared");
`;

interface Told {
  /** Which is missing; "" where none is. */
  readonly rule: string;
  readonly flaws: readonly string[];
  readonly found: readonly string[];
}

/** Waits for what a process prints last; each of its calls is quick, and there are many. */
async function over(daemon: Daemon, last: RegExp): Promise<string> {
  const printed = await eventually(
    String(last),
    180_000,
    () => Promise.resolve(daemon.printed),
    (text) => last.test(text) || /\n\s+at .*\n\s+at /.test(text),
  );
  await daemon.stop();
  return printed;
}

async function eachMissing(
  t: Test,
  host: Host,
  ...args: readonly string[]
): Promise<readonly Told[]> {
  const daemon = host.start([
    ...[process.execPath, "--input-type=module", "-e", EACH_MISSING],
    ...[ROOT, ...args],
  ]);
  await over(daemon, /cleared/);
  t.notMatch(daemon.printed, "Error");
  return daemon.lines
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Told);
}

/**
 * What no call can tell: connections over loopback pass this place as settled ones, no socket sends packets that belong to none, and a
 * captured call to a link-local address does not arrive anywhere.
 */
const UNSEEN = /iifname "lo"|-i lo|invalid|WHERRY_INVALID|INVALID|fe80/;

/** Sends a packet that belongs to no connection, and then one that begins one; prints whose reset comes first. */
const STRAY = `
import socket, struct, sys
here, there = sys.argv[1], sys.argv[2]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def send(source, port, flags):
    head = struct.pack("!HHIIBBHHH", source, port, 7, 0, 5 << 4, flags, 1024, 0, 0)
    pseudo = socket.inet_aton(here) + socket.inet_aton(there) + struct.pack("!BBH", 0, 6, len(head))
    head = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    raw.sendto(head, (there, 0))
send(40001, 15008, 1)
send(40002, 15008, 2)
while True:
    packet = raw.recv(200)
    source, to = struct.unpack("!HH", packet[20:24])
    if source == 15008 and to in (40001, 40002):
        print("the stray packet" if to == 40001 else "the first packet")
        break
`;

function rules(backend: (typeof BACKENDS)[number], network: Network): void {
  const { hosts } = network;
  const host = hosts.get("host");
  const peer = hosts.get("peer");
  if (host === undefined || peer === undefined) throw new Error("no hosts");
  const ready = Promise.all([
    // So few that calls get a port that the kernel still keeps for a past one.
    host.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 41999"]),
    host.run(["ip", "route", "replace", "203.0.113.0/24", "dev", "eth0"]),
    host.run(["ip", "-6", "route", "replace", "fd77::/64", "dev", "eth0"]),
  ]);
  const wherry = async (
    ...args: readonly string[]
  ): Promise<{ code: number; text: string }> => {
    const daemon = host.start([
      ...["sh", "-c", '"$@"; echo "ended with $?"', "sh"],
      ...[...WHERRY, "intercept", "--backend", backend],
      ...args,
    ]);
    const text = await over(daemon, /ended with \d+/);
    return { code: Number(/ended with (\d+)/.exec(text)?.[1]), text };
  };
  const reset = async (): Promise<string> => {
    const { stdout } = await peer.run([
      ...["python3", "-c", STRAY, peer.ipv4, host.ipv4],
    ]);
    return stdout.trim();
  };

  void t.test(`${backend}: set twice, proven, taken away`, LONG, async (t) => {
    await ready;
    const before = await everyRule(host);
    t.equal(await reset(), "the stray packet", "without rules it is reset");
    t.match(await wherry(...STATED), { code: 0, text: `by ${backend}` });
    const once = await everyRule(host);
    t.not(once, before);
    t.match(await wherry(...STATED), { code: 0 });
    t.equal(await everyRule(host), once, "the second time changes nothing");
    t.equal(await reset(), "the first packet", "a stray one is dropped");
    t.match(await wherry("--verify", ...STATED), {
      code: 0,
      text: "every rule acts, in IPv4 and IPv6",
    });
    const others = await wherry("--verify");
    t.equal(others.code, 1, "these are not the rules without exclusions");
    t.match(others.text, /IPv4: .*22/);
    t.match(await wherry("--remove"), { code: 0 });
    t.equal(await everyRule(host), before, "nothing is left");
    t.match(await wherry("--remove"), { code: 0 }, "twice is no error");
    const none = await wherry("--verify");
    t.match(none, { code: 1, text: "bypasses the sidecar" });
  });

  for (const family of ["ipv4", "ipv6"] as const)
    void t.test(
      `${backend}: each rule is missed, ${family}`,
      LONG,
      async (t) => {
        // Calls in one family by each tool, and in the other by the other: they say nothing of the tool.
        const calls =
          (backend === "nft") === (family === "ipv6") ? "calls" : "";
        const told = await eachMissing(t, host, backend, family, calls);
        t.ok(told.length > 10, `${told.length} rules`);
        for (const { rule, flaws, found } of told)
          if (rule === "") {
            t.same([flaws, found], [[], []], "all stand");
          } else {
            t.ok(flaws.length > 0, `the look misses ${rule}`);
            if (calls !== "" && !UNSEEN.test(rule))
              t.ok(found.length > 0, `a call misses ${rule}`);
          }
      },
    );
}

const missing =
  whyNoHosts() ??
  ["nft", "python3"]
    .filter((tool) => findTool(tool) === undefined)
    .map((tool) => `${tool} is not installed`)[0];
if (missing === undefined) {
  const network = makeNetwork(["host", "peer"]);
  t.teardown(() => network.close());
  for (const backend of BACKENDS) rules(backend, network);
} else if (process.env["WHERRY_REQUIRE"] === "all") t.fail(missing);
else t.pass(missing, { skip: missing });

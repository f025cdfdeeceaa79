/** Names below a wildcard of an external Service by `--dns`: each gets an address of its own that leads to that host, and no other name does. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import { whereTo } from "../../../src/proxy/destination.ts";
import { Resolver, type Outcome } from "../../../src/proxy/dns/resolver.ts";
import { VirtualAddresses } from "../../../src/proxy/dns/virtual-addresses.ts";
import { makeReply } from "../../../src/wire/dns/messages.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { question, summary } from "../../support/dns/questions.ts";
import {
  mesh,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";
import { requestTo } from "../../support/peers/arrivals.ts";

const outside = (name: string, hosts: readonly string[], more = {}) =>
  service(name, {
    ...{ location: "MESH_EXTERNAL", hosts, ...more },
    ports: [{ name: "web", port: 80, appProtocol: "http" }],
  });

function compile(...hosts: readonly string[]): Snapshot {
  return compileSnapshot(
    [
      mesh({ outboundTrafficPolicy: "REGISTRY_ONLY" }),
      outside("shop/wild", hosts),
      outside("far/hidden", ["*.hidden.test"], { exportTo: ["."] }),
    ],
    self(),
    VERSION,
  );
}

function rig(snapshot: Snapshot) {
  const current = { value: snapshot };
  const addresses = new VirtualAddresses();
  const outcomes: Outcome[] = [];
  const resolver = new Resolver({
    clock: fakeClock(),
    snapshot: current,
    lookups: { value: undefined },
    addresses,
    heardBefore: () => false,
    family: () => "ipv4",
    share: (_host, address) => Promise.resolve(address),
    nameServers: { ask: (asked, _stream, done) => done(makeReply(asked, 0)) },
    count: (outcome) => outcomes.push(outcome),
  });
  const say = async (name: string, type: string): Promise<string> =>
    summary(
      await new Promise<Buffer>((resolve) =>
        resolver.hear(question(name, type), false, resolve),
      ),
    );
  return { current, addresses, outcomes, say };
}

/** Where a captured request to the address goes, whatever its Host. */
function goes(
  { current, addresses }: ReturnType<typeof rig>,
  address: string,
  port = 80,
): string {
  const upstream = addresses.upstreamOf(current.value, address, port);
  const arrival = { originalDestination: { address, port } };
  const where = whereTo(
    current.value,
    requestTo("evil.example.test"),
    arrival,
    upstream,
  );
  if (where.kind === "refused") return where.error.code;
  if (where.kind !== "mesh") return where.kind;
  const { key, endpoints } = where.destination.cluster;
  return `${key} → ${endpoints.map((each) => each.address).join()}`;
}

const WILD = ["*.example.test", "*.deep.example.test", "example.org"];
const VIRTUAL = /^NOERROR A (240\.240\.\d+\.\d+)$/;

void t.test("which names get an address", async (t) => {
  const rows: readonly (readonly [string, string, boolean, Outcome])[] = [
    ["a.example.test", "A", true, "mesh"],
    ["A.Example.Test", "A", true, "mesh"],
    ["b.c.example.test", "A", true, "mesh"],
    ["x.deep.example.test", "A", true, "mesh"],
    ["deep.example.test", "A", true, "mesh"],
    ["example.org", "A", true, "mesh"],
    // This machine calls by IPv4, and what would lead around the address is not passed on.
    ["a.example.test", "AAAA", false, "no data"],
    ["a.example.test", "UNKNOWN_64", false, "no data"],
    ["a.example.test", "UNKNOWN_65", false, "no data"],
    // The domain's own mail and texts are others' affair.
    ["a.example.test", "MX", false, "passed on"],
    ["a.example.test", "TXT", false, "passed on"],
    ["example.test", "A", false, "passed on"],
    ["aexample.test", "A", false, "passed on"],
    ["a.example.test.corp", "A", false, "passed on"],
    ["a.example.org", "A", false, "passed on"],
    ["*.example.test", "A", false, "passed on"],
    ["a.hidden.test", "A", false, "passed on"],
  ];
  for (const [name, type, isVirtual, outcome] of rows) {
    const { say, outcomes } = rig(compile(...WILD));
    const label = `${name} ${type}`;
    t.equal(VIRTUAL.test(await say(name, type)), isVirtual, label);
    t.same(outcomes, [outcome], label);
  }
});

void t.test("the address leads to the host that it stands for", async (t) => {
  const made = rig(compile(...WILD));
  const addressOf = async (name: string): Promise<string> =>
    VIRTUAL.exec(await made.say(name, "A"))?.[1] ?? "";
  const first = await addressOf("a.example.test");
  const second = await addressOf("b.example.test");
  t.not(first, second);
  t.equal(await addressOf("A.EXAMPLE.TEST"), first, "one host, one address");
  for (const [address, host] of [
    [first, "a.example.test"],
    [second, "b.example.test"],
  ] as const)
    t.equal(
      goes(made, address),
      `wild.shop:80@${host}:80 → ${host}`,
      "its Host is no way to another",
    );
  t.equal(goes(made, first, 81), "UNKNOWN_DESTINATION", "an undeclared port");
  t.equal(
    goes(made, "240.240.255.1"),
    "UNKNOWN_DESTINATION",
    "an address that stands for no name",
  );

  made.current.value = compile("*.other.test");
  t.equal(
    goes(made, first),
    "UNKNOWN_DESTINATION",
    "the host is not below the wildcard any more",
  );
  await made.say("a.example.test", "A");
  t.equal(made.outcomes.at(-1), "passed on");
});

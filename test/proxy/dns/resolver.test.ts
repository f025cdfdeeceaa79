/** What the resolver says to which name: the mesh's by an address of their own, the others by those who know. */
import t from "tap";
import type { Lookups, NotKnown } from "../../../src/agent/interest/lookups.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import {
  MOST_WAITING_QUESTIONS,
  NAME_WAITS,
  Resolver,
  type Outcome,
} from "../../../src/proxy/dns/resolver.ts";
import {
  MOST_VIRTUAL,
  VirtualAddresses,
} from "../../../src/proxy/dns/virtual-addresses.ts";
import { makeReply } from "../../../src/wire/dns/messages.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { question, read, summary } from "../../support/dns/questions.ts";
import { resource } from "../../support/meshes/pair.ts";

const SELF = {
  ...{ name: "web-1", namespace: "shop", serviceAccount: "web", labels: {} },
  identity: "spiffe://cluster.local/ns/shop/sa/web",
} as const;

function meshOf(...services: readonly string[]): Snapshot {
  return compileSnapshot(
    [
      ...services.map((name) =>
        resource("Service", name, {
          ports: [{ port: 80 }],
          selector: { app: name },
        }),
      ),
      resource("Service", "stripe", {
        location: "MESH_EXTERNAL",
        hosts: ["api.stripe.com"],
        ports: [{ port: 443, appProtocol: "tls" }],
      }),
    ],
    SELF,
    { store: "s", revision: 1, digest: "" },
  );
}

interface Given {
  readonly snapshot?: Snapshot | undefined;
  readonly lookups?: Lookups;
  readonly family?: "ipv4" | "ipv6";
  readonly heardBefore?: boolean;
  /** What others say; undefined: nothing. */
  readonly others?: number | undefined;
  readonly share?: (host: string, address: string) => Promise<string>;
}

function resolverOf(given: Given = {}) {
  const snapshot = {
    value: "snapshot" in given ? given.snapshot : meshOf("orders"),
  };
  const outcomes: Outcome[] = [];
  const passed: string[] = [];
  const addresses = new VirtualAddresses();
  const clock = fakeClock();
  const resolver = new Resolver({
    clock,
    snapshot,
    lookups: { value: given.lookups },
    addresses,
    heardBefore: () => given.heardBefore ?? false,
    family: () => given.family ?? "ipv4",
    share: given.share ?? ((_host, address) => Promise.resolve(address)),
    nameServers: {
      ask(asked, _stream, done) {
        passed.push(asked.name);
        const code = "others" in given ? given.others : 0;
        done(code === undefined ? undefined : makeReply(asked, code as 0));
      },
    },
    count: (outcome) => outcomes.push(outcome),
  });
  const ask = (bytes: Buffer): Promise<Buffer> =>
    new Promise((resolve) => resolver.hear(bytes, false, resolve));
  const say = async (name: string, type = "A"): Promise<string> =>
    summary(await ask(question(name, type)));
  return { clock, resolver, ask, say, snapshot, outcomes, passed, addresses };
}

const OWN = "orders.shop.svc.cluster.local";
const ADDRESS = new VirtualAddresses().addressOf(OWN, "ipv4");
const EXTERNAL = new VirtualAddresses().addressOf("api.stripe.com", "ipv4");
const REVERSE = `${ADDRESS.split(".").reverse().join(".")}.in-addr.arpa`;

void t.test("names, types and outcomes", async (t) => {
  const cases: readonly [string, string, string, Outcome][] = [
    ["orders", "A", `NOERROR A ${ADDRESS}`, "mesh"],
    ["orders.shop", "A", `NOERROR A ${ADDRESS}`, "mesh"],
    ["orders.shop.svc", "A", `NOERROR A ${ADDRESS}`, "mesh"],
    [OWN, "A", `NOERROR A ${ADDRESS}`, "mesh"],
    ["ORDERS.Shop", "A", `NOERROR A ${ADDRESS}`, "mesh"],
    ["orders.shop", "ANY", `NOERROR A ${ADDRESS}`, "mesh"],
    ["orders.shop", "AAAA", "NOERROR", "no data"],
    ["orders.shop", "TXT", "NOERROR", "no data"],
    ["orders.shop", "SRV", "NOERROR", "no data"],
    ["api.stripe.com", "A", `NOERROR A ${EXTERNAL}`, "mesh"],
    ["api.stripe.com", "AAAA", "NOERROR", "no data"],
    ["api.stripe.com", "MX", "NOERROR", "passed on"],
    ["other.shop.svc", "A", "NXDOMAIN", "no such name"],
    ["other.shop.svc.cluster.local", "A", "NXDOMAIN", "no such name"],
    ["example.org.shop.svc.cluster.local", "A", "NXDOMAIN", "no such name"],
    [`${OWN}.corp.example`, "A", "NXDOMAIN", "no such name"],
    ["svc.cluster.local", "A", "NXDOMAIN", "no such name"],
    ["example.org", "A", "NOERROR", "passed on"],
    ["orders.corp.example", "A", "NOERROR", "passed on"],
    ["_sip._udp.example.org", "SRV", "NOERROR", "passed on"],
    ["orders.elsewhere", "A", "NOERROR", "passed on"],
    [".", "NS", "NOERROR", "passed on"],
    [REVERSE, "PTR", "NXDOMAIN", "no such name"],
    ["1.0.0.10.in-addr.arpa", "PTR", "NOERROR", "passed on"],
  ];
  for (const [name, type, expected, outcome] of cases) {
    const { say, outcomes, passed } = resolverOf({
      snapshot: name === REVERSE ? meshOf() : meshOf("orders"),
    });
    t.equal(await say(name, type), expected, `${name} ${type}`);
    t.same(outcomes, [outcome], `${name} ${type}`);
    t.equal(passed.length, outcome === "passed on" ? 1 : 0);
  }
});

void t.test("the address says its name", async (t) => {
  const { say } = resolverOf();
  t.equal(await say(REVERSE, "PTR"), `NOERROR PTR ${OWN}`);
});

void t.test(
  "what another process replied is nobody else's at first",
  async (t) => {
    // Two names that prefer one address.
    const seen = new Map<string, string>();
    let pair: [string, string] | undefined;
    for (let index = 0; pair === undefined; index += 1) {
      const name = `s${index}`;
      const host = `${name}.shop.svc.cluster.local`;
      const address = new VirtualAddresses().addressOf(host, "ipv4");
      const other = seen.get(address);
      if (other === undefined) seen.set(address, name);
      else pair = [other, name];
    }
    const [first, second] = pair;
    const snapshot = meshOf(first, second);
    const before = resolverOf({ snapshot });
    const had = await before.say(`${first}.shop`);
    const early = resolverOf({ snapshot, heardBefore: true });
    t.not(await early.say(`${second}.shop`), had);
    const later = resolverOf({ snapshot });
    t.equal(await later.say(`${second}.shop`), had, "and then it may be");
  },
);

void t.test("case, TTL and EDNS", async (t) => {
  const { ask } = resolverOf();
  const reply = read(await ask(question("oRdErS.sHop", "A", { size: 4096 })));
  t.match(reply.questions, [{ name: "oRdErS.sHop" }]);
  t.match(reply.answers, [{ name: "oRdErS.sHop", ttl: 5 }]);
  t.match(reply.additionals, [{ type: "OPT", udpPayloadSize: 1232 }]);
});

void t.test("a machine of IPv6 alone", async (t) => {
  const { say, addresses } = resolverOf({ family: "ipv6" });
  const address = addresses.addressOf(OWN, "ipv6");
  t.match(address, /^2001:2:0:/);
  t.equal(await say("orders", "AAAA"), `NOERROR AAAA ${address}`);
  t.equal(await say("orders", "A"), "NOERROR");
});

void t.test("what is not a question for a name", async (t) => {
  const { ask, outcomes } = resolverOf();
  const update = question("orders.shop", "A");
  update.writeUInt8(5 << 3, 2);
  t.equal(summary(await ask(update)), "NOTIMP");
  const chaos = question("version.bind", "TXT", { class: "CH" });
  t.equal(summary(await ask(chaos)), "REFUSED");
  const identity = question("id.server", "TXT", { class: "CH" });
  t.equal(summary(await ask(identity)), "NOERROR TXT wherry");
  t.equal(summary(await ask(Buffer.alloc(12))), "FORMERR");
  t.same(outcomes, ["refused", "refused", "mesh", "malformed"]);
  const { resolver, outcomes: dropped } = resolverOf();
  const never = (): void => void t.fail("there is no reply to it");
  t.notOk(resolver.hear(Buffer.from("hello"), false, never));
  t.same(dropped, ["dropped"]);
});

void t.test("others that do not respond, and no config", async (t) => {
  const silent = resolverOf({ others: undefined });
  t.equal(await silent.say("example.org"), "SERVFAIL");
  t.same(silent.outcomes, ["not resolved"]);
  const early = resolverOf({ snapshot: undefined });
  t.equal(await early.say("orders"), "SERVFAIL");
  t.equal(await early.say("example.org"), "SERVFAIL");
  t.same(
    early.passed,
    [],
    "a name of the mesh asked outside would say too much",
  );
});

/** Look-ups that are resolved by hand. */
function byHand(): Lookups & {
  readonly asked: string[];
  settle(failure?: NotKnown): void;
} {
  const waiting: ((failure: NotKnown | undefined) => void)[] = [];
  const asked: string[] = [];
  return {
    asked,
    holds: () => true,
    knows: () => false,
    look({ questions }, done) {
      asked.push(...questions);
      waiting.push(done);
    },
    settle: (failure) => {
      for (const done of waiting.splice(0)) done(failure);
    },
  };
}

void t.test("what is not held is asked for", async (t) => {
  const lookups = byHand();
  const { say, snapshot } = resolverOf({ lookups, snapshot: meshOf() });
  const reply = say("orders.shop");
  t.same(lookups.asked, ["Host//orders.shop"]);
  snapshot.value = meshOf("orders");
  lookups.settle();
  t.equal(await reply, `NOERROR A ${ADDRESS}`);
});

void t.test("the control plane is away", async (t) => {
  const gone: NotKnown = { kind: "gone", detail: "away" };
  const cases: readonly [string, number, string][] = [
    ["orders.shop.svc", 0, "SERVFAIL"],
    ["example.org", 0, "NOERROR"],
    // The mesh may have it: nobody is to keep that there is none.
    ["example.org", 3, "SERVFAIL"],
  ];
  for (const [name, others, expected] of cases) {
    const lookups = byHand();
    const { say } = resolverOf({ lookups, snapshot: meshOf(), others });
    const reply = say(name);
    lookups.settle(gone);
    t.equal(await reply, expected, `${name}, others say ${others}`);
  }
});

void t.test(
  "a name waits for no longer than clients of DNS do, and hears of the result once",
  async (t) => {
    const lookups = byHand();
    const { clock, say, outcomes } = resolverOf({
      lookups,
      snapshot: meshOf(),
      others: 3,
    });
    const reply = say("orders.shop");
    clock.advance(NAME_WAITS - 1);
    t.same(outcomes, []);
    clock.advance(1);
    t.equal(await reply, "SERVFAIL", "the mesh may have it");
    lookups.settle();
    t.same(outcomes, ["not resolved"]);
    const again = say("none.example");
    lookups.settle();
    clock.advance(NAME_WAITS);
    t.equal(await again, "NXDOMAIN");
    t.same(outcomes, ["not resolved", "passed on"]);
  },
);

void t.test("no more wait than there is room for", async (t) => {
  const lookups = byHand();
  const { say, resolver } = resolverOf({ lookups, snapshot: meshOf() });
  for (let index = 0; index < MOST_WAITING_QUESTIONS; index += 1)
    resolver.hear(question(`n${index}.shop`, "A"), false, () => undefined);
  t.equal(await say("orders.shop"), "SERVFAIL");
  lookups.settle();
  const reply = say("orders.shop");
  lookups.settle();
  t.equal(await reply, "NOERROR", "there is room again");
});

void t.test(
  "all workers know of an address before anybody connects",
  async (t) => {
    const shared: string[] = [];
    const first = Promise.withResolvers<undefined>();
    const { say, ask } = resolverOf({
      async share(host, address) {
        shared.push(`${host} ${address}`);
        await first.promise;
        return address;
      },
    });
    let replied = false;
    const reply = ask(question("orders", "A")).then(() => {
      replied = true;
    });
    await Promise.resolve();
    t.notOk(replied);
    first.resolve(undefined);
    await reply;
    await say("orders.shop");
    t.same(shared, [`${OWN} ${ADDRESS}`], "told once");
    const broken = resolverOf({
      share: () => Promise.reject(new Error("gone")),
    });
    t.equal(await broken.say("orders"), "SERVFAIL");
  },
);

void t.test(
  "of any number of names no more are remembered than each worker remembers",
  async (t) => {
    const snapshot = compileSnapshot(
      [
        resource("Service", "outside", {
          location: "MESH_EXTERNAL",
          hosts: ["*.example.com"],
          ports: [{ port: 80 }],
        }),
      ],
      SELF,
      { store: "s", revision: 1, digest: "" },
    );
    const worker = new VirtualAddresses();
    let told = 0;
    const { ask } = resolverOf({
      snapshot,
      share(host, address) {
        told += 1;
        worker.set(host, address);
        return Promise.resolve(address);
      },
    });
    const template = question("n00000.example.com", "A");
    const askFor = (index: number): Promise<Buffer> => {
      const asked = Buffer.from(template);
      asked.write(
        String(index).padStart(5, "0"),
        template.indexOf("n00000") + 1,
      );
      return ask(asked);
    };
    // As many at once as may wait.
    for (let index = 0; index < MOST_VIRTUAL; index += MOST_WAITING_QUESTIONS)
      await Promise.all(
        Array.from({ length: MOST_WAITING_QUESTIONS }, (_, each) =>
          askFor(index + each),
        ),
      );
    await askFor(0);
    t.equal(told, MOST_VIRTUAL, "it is known still");
    await askFor(MOST_VIRTUAL);
    const reply = read(await askFor(0));
    t.equal(told, MOST_VIRTUAL + 2, "it was forgotten, and is told again");
    const [{ data: address = "" } = {}] = reply.answers;
    t.equal(worker.hostOf(undefined, String(address)), "n00000.example.com");
  },
);

/** Addresses that stand for names: one for each, the same for as long as it is in use, and known again by the next process. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import {
  isVirtual,
  MOST_VIRTUAL,
  VirtualAddresses,
} from "../../../src/proxy/dns/virtual-addresses.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import { resource } from "../../support/meshes/pair.ts";

void t.test("each name has its own address, and keeps it", (t) => {
  const addresses = new VirtualAddresses();
  const hosts = Array.from(
    { length: 5000 },
    (_, index) => `s${index}.shop.svc`,
  );
  for (const family of ["ipv4", "ipv6"] as const) {
    const given = hosts.map((host) => addresses.addressOf(host, family));
    t.equal(new Set(given).size, hosts.length, `${family}: no two share one`);
    t.ok(given.every(isVirtual));
    t.same(
      hosts.map((host) => addresses.addressOf(host, family)),
      given,
      "the same again",
    );
    for (const [index, host] of hosts.entries())
      if (addresses.hostOf(undefined, given[index] ?? "") !== host)
        t.fail(`${given[index] ?? ""} is not ${host}`);
  }
  t.notOk(isVirtual("240.241.0.1"));
  t.notOk(isVirtual("10.240.240.1"));
  t.equal(addresses.hostOf(undefined, "240.240.0.0"), undefined);
  t.end();
});

void t.test("the name that was of no use for longest makes room", (t) => {
  const addresses = new VirtualAddresses();
  const first = addresses.addressOf("first.example", "ipv4");
  const second = addresses.addressOf("second.example", "ipv4");
  for (let index = 2; index < MOST_VIRTUAL; index += 1)
    addresses.addressOf(`s${index}.example`, "ipv4");
  t.equal(addresses.addressOf("first.example", "ipv4"), first);
  addresses.addressOf("one.more.example", "ipv4");
  t.equal(addresses.size, MOST_VIRTUAL);
  t.equal(addresses.hostOf(undefined, first), "first.example", "in use");
  t.equal(addresses.hostOf(undefined, second), undefined, "forgotten");
  t.end();
});

void t.test("names that anybody may ask for push out no Service", (t) => {
  const isOwn = (host: string): boolean => host.endsWith(".svc.demo");
  const addresses = new VirtualAddresses(isOwn);
  const own = Array.from({ length: 300 }, (_, index) => {
    const host = `s${index}.shop.svc.demo`;
    return [host, addresses.addressOf(host, "ipv4")] as const;
  });
  const gone: string[] = [];
  addresses.onForgotten = ({ host }) => void gone.push(host);
  for (let index = 0; index < MOST_VIRTUAL + 2000; index += 1)
    addresses.addressOf(`x${index}.example`, "ipv4");
  t.equal(addresses.size, MOST_VIRTUAL);
  t.notOk(gone.some(isOwn));
  for (const [host, address] of own)
    if (addresses.hostOf(undefined, address) !== host)
      t.fail(`${address} is not ${host}`);
  t.equal(addresses.hostOf(undefined, "240.240.0.0"), undefined);
  t.end();
});

void t.test("of Services alone the oldest makes room, too", (t) => {
  const addresses = new VirtualAddresses(() => true);
  const first = addresses.addressOf("s.shop.svc.demo", "ipv4");
  for (let index = 0; index <= MOST_VIRTUAL; index += 1)
    addresses.addressOf(`s${index}.shop.svc.demo`, "ipv4");
  t.equal(addresses.size, MOST_VIRTUAL);
  t.not(addresses.hostOf(undefined, first), "s.shop.svc.demo");
  const last = `s${MOST_VIRTUAL}.shop.svc.demo`;
  t.equal(addresses.hostOf(undefined, addresses.addressOf(last, "ipv4")), last);
  t.end();
});

void t.test("the next process knows what the one before gave", (t) => {
  const snapshot = compileSnapshot(
    [
      resource("Service", "orders", {
        ports: [{ port: 80 }],
        selector: { app: "orders" },
      }),
      resource("Service", "stripe", {
        location: "MESH_EXTERNAL",
        hosts: ["api.stripe.com"],
        ports: [{ port: 443, appProtocol: "tls" }],
      }),
    ],
    {
      ...{
        name: "web-1",
        namespace: "shop",
        serviceAccount: "web",
        labels: {},
      },
      identity: "spiffe://cluster.local/ns/shop/sa/web",
    },
    { store: "s", revision: 1, digest: "" },
  );
  const before = new VirtualAddresses();
  const after = new VirtualAddresses();
  for (const host of ["orders.shop.svc.cluster.local", "api.stripe.com"])
    for (const family of ["ipv4", "ipv6"] as const) {
      const address = before.addressOf(host, family);
      t.equal(after.hostOf(snapshot, address), host);
      t.match(after.upstreamOf(snapshot, address, 80), { host, port: 80 });
    }
  t.equal(after.upstreamOf(snapshot, "10.0.0.1", 80), undefined);
  t.match(after.upstreamOf(snapshot, "240.240.0.9", 80), {
    host: "240.240.0.9",
  });
  t.end();
});

/** Two names that have the same address where each is asked for alone, and a third that has the next one. */
function crowded(): readonly [string, string, string] {
  const alone = (name: string): string =>
    new VirtualAddresses().addressOf(fullNameOf(name), "ipv4");
  const known = new Map<string, string>();
  const pairs: [string, string][] = [];
  for (let index = 0; ; index += 1) {
    const name = `s${index}`;
    const address = alone(name);
    const other = known.get(address);
    if (other === undefined) known.set(address, name);
    else pairs.push([other, name]);
    for (const [first, second] of pairs) {
      const both = new VirtualAddresses();
      both.addressOf(fullNameOf(first), "ipv4");
      const next = both.addressOf(fullNameOf(second), "ipv4");
      const third = known.get(next);
      if (third !== undefined) return [first, second, third];
    }
  }
}

function fullNameOf(name: string): string {
  return `${name}.shop.svc.cluster.local`;
}

function crowdedMesh(...names: readonly string[]): Snapshot {
  return compileSnapshot(
    [...names, "orders"].map((name) =>
      resource("Service", name, {
        ports: [{ port: 80 }],
        selector: { app: name },
      }),
    ),
    {
      ...{ name: "web-1", namespace: "shop", serviceAccount: "web" },
      labels: {},
      identity: "spiffe://cluster.local/ns/shop/sa/web",
    },
    { store: "s", revision: 1, digest: "" },
  );
}

void t.test(
  "the next process guesses no address that might be another's",
  (t) => {
    const [first, second, third] = crowded();
    const snapshot = crowdedMesh(first, second, third);
    const after = new VirtualAddresses();
    for (const order of [
      [first, second, third],
      [third, second, first],
    ]) {
      const before = new VirtualAddresses();
      for (const name of [...order, "orders"]) {
        const host = fullNameOf(name);
        const address = before.addressOf(host, "ipv4");
        const guessed = after.hostOf(snapshot, address);
        t.ok(
          guessed === host || (guessed === undefined && name !== "orders"),
          `${name} of ${order.join(", ")} is not ${guessed ?? "known"}`,
        );
      }
    }
    const host = fullNameOf(first);
    const address = after.addressOf(host, "ipv4");
    t.equal(after.hostOf(snapshot, address), host, "once it is asked for");
    t.end();
  },
);

void t.test(
  "the next process gives no name what another may have had at first",
  (t) => {
    const [first, second, third] = crowded();
    const snapshot = crowdedMesh(first, second, third);
    const names = [first, second, third, "orders", "outside"].map(fullNameOf);
    for (const order of [names, [...names].reverse()]) {
      const before = new VirtualAddresses();
      const had = new Map(
        order.map((host) => [before.addressOf(host, "ipv4"), host]),
      );
      for (const host of names) {
        const after = new VirtualAddresses();
        const address = after.addressOf(host, "ipv4", snapshot);
        t.ok([host, undefined].includes(had.get(address)), host);
        t.equal(after.addressOf(host, "ipv4"), address, "and it stays");
      }
    }
    const again = (name: string): string =>
      new VirtualAddresses().addressOf(fullNameOf(name), "ipv4", snapshot);
    t.not(again(first), again(second), "nor at the restart after that one");
    const orders = fullNameOf("orders");
    t.equal(
      again("orders"),
      new VirtualAddresses().addressOf(orders, "ipv4"),
      "what was one name's alone is that name's again",
    );
    t.end();
  },
);

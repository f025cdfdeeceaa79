import t from "tap";
import {
  formatInterest,
  isQuestion,
  lookupVersion,
  parseInterest,
  type Interest,
} from "../../src/push/interest.ts";

const NAMES: readonly (readonly [string, Interest])[] = [
  ["*", { kind: "everything" }],
  ["self", { kind: "self" }],
  [
    "Service/shop/orders",
    { kind: "service", namespace: "shop", name: "orders" },
  ],
  ["Service/shop/a.b", { kind: "service", namespace: "shop", name: "a.b" }],
  ["Host//orders.shop", { kind: "host", host: "orders.shop" }],
  ["Host//orders", { kind: "host", host: "orders" }],
  ["Host//10.0.0.1", { kind: "host", host: "10.0.0.1" }],
  [
    "Address//10.0.0.1:8080",
    { kind: "address", address: "10.0.0.1", port: 8080 },
  ],
  ["Address//[fd00::1]:80", { kind: "address", address: "fd00::1", port: 80 }],
];

void t.test("what may be subscribed to has one name", (t) => {
  for (const [name, interest] of NAMES) {
    t.equal(formatInterest(interest), name);
    t.same(parseInterest(name), interest);
  }
  t.end();
});

void t.test("a name of any other form is none", (t) => {
  for (const name of [
    "",
    "**",
    "Self",
    "self/",
    "Service",
    "Service/shop",
    "Service//orders",
    "Service/shop/",
    "Service/shop/orders/x",
    "service/shop/orders",
    "HTTPRoute/shop/orders",
    "Host/shop/orders.shop",
    "Host//",
    "Host//Orders.shop",
    "Host//orders.shop.",
    "Host//orders.shop:80",
    "Host//[::1]",
    "Host//a..b",
    "Host//a b",
    `Host//${"a".repeat(641)}`,
    "Address//10.0.0.1",
    "Address//10.0.0.1:",
    "Address//10.0.0.1:0",
    "Address//10.0.0.1:080",
    "Address//10.0.0.1:0x50",
    "Address//10.0.0.1:1e3",
    "Address//10.0.0.1:65536",
    "Address//10.0.0.01:80",
    "Address//orders.shop:80",
    "Address//fd00::1:80",
    "Address//[FD00::1]:80",
    "Address//[fd00:0::1]:80",
    "Address//[::ffff:10.0.0.1]:80",
    "Address//[fe80::1%eth0]:80",
    "Address//[10.0.0.1]:80",
  ])
    t.equal(parseInterest(name), undefined, JSON.stringify(name));
  t.end();
});

void t.test("hosts and addresses are answered by a Lookup", (t) => {
  t.same(
    NAMES.filter(([, interest]) => isQuestion(interest)).map(([name]) => name),
    [
      "Host//orders.shop",
      "Host//orders",
      "Host//10.0.0.1",
      "Address//10.0.0.1:8080",
      "Address//[fd00::1]:80",
    ],
  );
  t.equal(lookupVersion([]), "none");
  t.equal(lookupVersion(["shop/a", "shop/b"]), "shop/a,shop/b");
  t.end();
});

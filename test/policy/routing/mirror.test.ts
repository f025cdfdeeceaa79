import t from "tap";
import {
  mirrorShare,
  shadowAuthority,
} from "../../../src/policy/routing/mirror.ts";

const backendRef = { name: "shadow", port: 80 };

void t.test("the share of a mirror: percent, fraction of 100, or all", (t) => {
  t.equal(mirrorShare({ backendRef }), 1);
  t.equal(mirrorShare({ backendRef, percent: 0 }), 0);
  t.equal(mirrorShare({ backendRef, percent: 25 }), 0.25);
  t.equal(mirrorShare({ backendRef, fraction: { numerator: 5 } }), 0.05);
  t.equal(
    mirrorShare({ backendRef, fraction: { numerator: 1, denominator: 1000 } }),
    0.001,
  );
  t.end();
});

void t.test("the Host of a copy says that it is one", (t) => {
  for (const [authority, shadow] of [
    ["orders.shop", "orders.shop-shadow"],
    ["orders.shop:80", "orders.shop-shadow:80"],
    ["10.0.0.1:80", "10.0.0.1-shadow:80"],
    ["[::1]:80", "[::1]:80"],
    ["", ""],
  ] as const)
    t.equal(shadowAuthority(authority), shadow);
  t.end();
});

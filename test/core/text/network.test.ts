import t from "tap";
import {
  canonicalAddress,
  canonicalRange,
  isExposed,
  isLoopback,
  isLoopbackHost,
  isWithin,
  unmapped,
  unreachable,
} from "../../../src/core/text/network.ts";

void t.test("an address has one form", (t) => {
  for (const [text, form] of [
    ["10.0.0.7", "10.0.0.7"],
    ["::ffff:10.0.0.7", "10.0.0.7"],
    ["::FFFF:a00:7", "10.0.0.7"],
    ["FD00:0:0::A", "fd00::a"],
    ["::1", "::1"],
    ["0x7f.1", undefined],
    ["127.1", undefined],
    ["010.0.0.7", undefined],
    ["fe80::1%eth0", undefined],
    ["localhost", undefined],
    ["10.0.0.7/32", undefined],
    ["", undefined],
  ] as const)
    t.equal(canonicalAddress(text), form, text);
  t.equal(unmapped("::ffff:10.0.0.7"), "10.0.0.7");
  t.equal(unmapped("fd00::a"), "fd00::a");
  t.end();
});

void t.test("a range has one form, and an address is a range of one", (t) => {
  for (const [text, form] of [
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["10.0.0.7", "10.0.0.7/32"],
    ["FD00::/8", "fd00::/8"],
    ["fd00::a", "fd00::a/128"],
    ["10.0.0.0/33", undefined],
    ["10.0.0.0/-1", undefined],
    ["10.0.0.0/8/8", undefined],
    ["10.0.0.0/", undefined],
    ["example.org/8", undefined],
  ] as const)
    t.equal(canonicalRange(text), form, text);
  t.end();
});

void t.test("an address is within a range of its own family", (t) => {
  for (const [address, ranges, within] of [
    ["10.0.0.7", ["10.0.0.0/8"], true],
    ["::ffff:10.0.0.7", ["10.0.0.0/8"], true],
    ["11.0.0.7", ["10.0.0.0/8", "11.0.0.7"], true],
    ["11.0.0.7", ["10.0.0.0/8"], false],
    ["fd00::a", ["fd00::/8"], true],
    ["fd00::a", ["0.0.0.0/0"], false],
    ["10.0.0.7", ["::/0"], false],
    ["10.0.0.7", [], false],
    ["10.0.0.7", ["nonsense"], false],
    ["nonsense", ["0.0.0.0/0"], false],
  ] as const)
    t.equal(
      isWithin(address, ranges),
      within,
      `${address} in ${ranges.join()}`,
    );
  t.end();
});

void t.test("nobody else reaches some addresses", (t) => {
  for (const address of [
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
  ])
    t.type(unreachable(address), "string", address);
  for (const address of [
    "10.0.0.7",
    "127.0.0.1",
    "::1",
    "fd00::a",
    "198.18.0.1",
  ])
    t.equal(unreachable(address), undefined, address);
  t.end();
});

void t.test("what leaves this machine in plaintext is exposed", (t) => {
  for (const [url, exposed] of [
    ["https://ca.test/", false],
    ["http://ca.test/", true],
    ["http://10.0.0.1/", true],
    ["http://localhost.test/", true],
    ["http://localhost:1/", false],
    ["http://127.0.0.1/", false],
    ["http://127.1/", false],
    ["http://[::1]:5/", false],
    ["http://[::2]/", true],
  ] as const)
    t.equal(isExposed(new URL(url)), exposed, url);
  t.ok(isLoopback("::ffff:127.0.0.1"));
  t.ok(isLoopbackHost("localhost"));
  t.notOk(isLoopbackHost("127.0.0.1.shop.test"));
  t.notOk(isLoopback("128.0.0.1"));
  t.end();
});

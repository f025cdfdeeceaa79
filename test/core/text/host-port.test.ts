import t from "tap";
import {
  formatHost,
  formatHostPort,
  splitHostPort,
} from "../../../src/core/text/host-port.ts";

void t.test("an IPv6 address has brackets, and loses them again", (t) => {
  for (const [host, port, text] of [
    ["10.0.0.7", 80, "10.0.0.7:80"],
    ["orders.shop", 8080, "orders.shop:8080"],
    ["::1", 80, "[::1]:80"],
    ["2001:db8::1", 443, "[2001:db8::1]:443"],
  ] as const) {
    t.equal(formatHostPort(host, port), text);
    t.same(splitHostPort(text), { host, port });
  }
  t.equal(formatHost("orders.shop"), "orders.shop");
  t.equal(formatHost("::1"), "[::1]");
  t.same(splitHostPort(""), { host: "", port: 0 });
  t.end();
});

import t from "tap";
import { Uses } from "../../../src/agent/interest/uses.ts";

void t.test("a call is noted once, and found by its destination", (t) => {
  const uses = new Uses();
  t.notOk(uses.called("orders.shop:80"));
  t.ok(uses.note("shop/orders", "orders.shop:80"), "the first");
  t.ok(uses.called("orders.shop:80"));
  t.notOk(uses.note("shop/orders", "orders.shop:81"), "another port");
  t.ok(uses.called("orders.shop:81"));
  t.ok(uses.has("shop/orders"));
  uses.forgetDestinations();
  t.notOk(uses.called("orders.shop:80"));
  t.ok(uses.has("shop/orders"));
  t.end();
});

void t.test("what is not called any more is told", (t) => {
  const uses = new Uses(["shop/declared"]);
  uses.note("shop/orders", "orders.shop:80");
  uses.note("shop/stock", "stock.shop:80");
  t.same(uses.recent(), ["shop/declared", "shop/orders", "shop/stock"]);
  uses.tick();
  t.same(uses.recent(), []);
  t.ok(uses.called("stock.shop:80"));
  t.same(uses.recent(), ["shop/stock"]);
  t.same(uses.unused(2), []);
  uses.tick();
  t.same(uses.unused(2), ["shop/orders"]);
  t.same(
    [...uses.entries()],
    [
      ["shop/declared", undefined],
      ["shop/orders", 2],
      ["shop/stock", 1],
    ],
  );
  uses.remove("shop/orders");
  t.notOk(uses.called("orders.shop:80"));
  t.notOk(uses.has("shop/orders"));
  t.ok(uses.called("stock.shop:80"));
  t.end();
});

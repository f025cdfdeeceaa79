/** What the four services of the shop do. */
import { join } from "node:path";
import t from "tap";
import type { Answer, Call, Service } from "../../src/demo/call.ts";
import type { Caller, Reply } from "../../src/demo/caller.ts";
import {
  catalogService,
  ordersService,
  paymentsService,
  webService,
} from "../../src/demo/services.ts";

const OK: Reply = {
  status: 200,
  body: { fine: true },
  servedBy: "x",
  reason: undefined,
};

function ask(
  service: Service,
  method: string,
  target: string,
  more: Partial<Call> = {},
): Promise<Answer> {
  const url = new URL(target, "http://shop");
  return Promise.resolve(
    service({
      method,
      path: url.pathname,
      query: url.searchParams,
      body: {},
      accept: "",
      caller: () => Promise.resolve(OK),
      ...more,
    }),
  );
}

void t.test("the catalog lists products and shows one", async (t) => {
  const catalog = catalogService({ instance: "catalog-1", version: "v1" });
  const all = await ask(catalog, "GET", "/products");
  t.match(all, { status: 200, body: { servedBy: "catalog-1" } });
  t.match(await ask(catalog, "GET", "/products/rope"), {
    status: 200,
    body: { id: "rope", price: 1200 },
  });
  t.equal((await ask(catalog, "GET", "/products/anchor")).status, 404);
  t.equal((await ask(catalog, "GET", "/")).status, 404);
  t.equal((await ask(catalog, "POST", "/products")).status, 405);
});

void t.test(
  "an order that one instance takes, every instance shows",
  async (t) => {
    const file = join(t.testdir(), "orders.db");
    const one = ordersService({ instance: "orders-1", version: "v1" }, file);
    const two = ordersService({ instance: "orders-2", version: "v1" }, file);
    t.match(await ask(one, "GET", "/orders"), {
      body: { count: 0, latest: [] },
    });
    t.match(await ask(one, "POST", "/orders", { body: { product: "oar" } }), {
      status: 201,
      body: { servedBy: "orders-1", id: 1, product: "oar" },
    });
    t.match(await ask(two, "GET", "/orders"), {
      status: 200,
      body: {
        servedBy: "orders-2",
        count: 1,
        latest: [{ id: 1, product: "oar", takenBy: "orders-1" }],
      },
    });
    for (const body of [{}, { product: "anchor" }, { product: 1 }, undefined])
      t.equal((await ask(one, "POST", "/orders", { body })).status, 400);
    t.equal((await ask(one, "PUT", "/orders")).status, 405);
    t.equal((await ask(one, "GET", "/")).status, 404);
    t.match(await ask(two, "GET", "/orders"), { body: { count: 1 } });
  },
);

void t.test("payments: each version has its fee", async (t) => {
  const fees = [];
  for (const version of ["v1", "v2"]) {
    const payments = paymentsService({
      instance: `payments-${version}-1`,
      version,
    });
    const quote = await ask(payments, "GET", "/quote?amount=4900");
    const paid = await ask(payments, "POST", "/payments", {
      body: { amount: 4900 },
    });
    fees.push([quote.body, paid.status, paid.body]);
    t.equal((await ask(payments, "GET", "/quote?amount=-1")).status, 400);
    t.equal((await ask(payments, "GET", "/quote?amount=x")).status, 400);
    for (const amount of [-1, "5", undefined])
      t.equal(
        (await ask(payments, "POST", "/payments", { body: { amount } })).status,
        400,
      );
    t.equal((await ask(payments, "GET", "/payments")).status, 404);
  }
  t.match(fees, [
    [{ version: "v1", fee: 30 }, 201, { charged: 4930 }],
    [{ version: "v2", fee: 69 }, 201, { charged: 4969 }],
  ]);
});

void t.test(
  "the shop's page has what all answered, and says who did not",
  async (t) => {
    const web = webService({ instance: "web-1", version: "v1" });
    const called: string[] = [];
    const caller: Caller = (service, path) => {
      called.push(service + path);
      return Promise.resolve(OK);
    };
    t.strictSame(await ask(web, "GET", "/", { caller }), {
      status: 200,
      body: {
        web: { servedBy: "web-1" },
        catalog: { fine: true },
        orders: { fine: true },
        payments: { fine: true },
      },
    });
    t.strictSame(called.sort(), [
      "catalog.shop/products",
      "orders.shop/orders",
      "payments.shop/quote?amount=4900",
    ]);
    const denied: Caller = (service) =>
      Promise.resolve(
        service === "orders.shop"
          ? { ...OK, status: 403, body: "no", reason: "DENIED; policy=shop/p" }
          : OK,
      );
    t.match(await ask(web, "GET", "/", { caller: denied }), {
      status: 502,
      body: {
        orders: { status: 403, reason: "DENIED; policy=shop/p", error: "no" },
      },
    });
    const hostile: Caller = () =>
      Promise.resolve({ ...OK, body: { name: '<script>&"' } });
    const page = await ask(web, "GET", "/", {
      accept: "text/html,*/*",
      caller: hostile,
    });
    t.match(page, { status: 200, type: "text/html; charset=utf-8" });
    t.match(page.body, "&lt;script&gt;&amp;");
    t.notMatch(page.body, "<script>");
    t.equal((await ask(web, "GET", "/healthz")).status, 200);
    t.equal((await ask(web, "GET", "/admin")).status, 404);
  },
);

void t.test(
  "a purchase is an order, then a payment of its price",
  async (t) => {
    const web = webService({ instance: "web-1", version: "v1" });
    const buy = async (
      statuses: Readonly<Record<string, number>>,
      body: unknown,
    ): Promise<[number, string[]]> => {
      const called: string[] = [];
      const caller: Caller = (service, path, options = {}) => {
        called.push(
          `${options.method ?? "GET"} ${service}${path} ${JSON.stringify(options.body)}`,
        );
        return Promise.resolve({ ...OK, status: statuses[service] ?? 0 });
      };
      const { status } = await ask(web, "POST", "/buy", { body, caller });
      return [status, called];
    };
    const order = 'POST orders.shop/orders {"product":"rope"}';
    const payment = 'POST payments.shop/payments {"amount":1200}';
    const rope = { product: "rope" };
    t.strictSame(
      await buy({ "orders.shop": 201, "payments.shop": 201 }, rope),
      [201, [order, payment]],
    );
    t.strictSame(await buy({ "orders.shop": 503 }, rope), [502, [order]]);
    t.strictSame(await buy({ "orders.shop": 201 }, rope), [
      502,
      [order, payment],
    ]);
    const [, [first]] = await buy({}, { product: "unknown" });
    t.equal(first, 'POST orders.shop/orders {"product":"oar"}');
  },
);

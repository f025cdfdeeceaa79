/** What the four services of the shop do. */
import { DatabaseSync } from "node:sqlite";
import type { Answer, Call, Service } from "./call.ts";
import type { Reply } from "./caller.ts";
import { shopPage } from "./page.ts";

export interface Self {
  readonly instance: string;
  readonly version: string;
}

interface Product {
  readonly id: string;
  readonly name: string;
  /** Cents. */
  readonly price: number;
}

const PRODUCTS: readonly Product[] = [
  { id: "oar", name: "A pair of oars", price: 4900 },
  { id: "rope", name: "Mooring rope, 10 m", price: 1200 },
  { id: "lamp", name: "Bow lantern", price: 3500 },
  { id: "seat", name: "Cushioned thwart", price: 2600 },
];

const NOT_FOUND: Answer = {
  status: 404,
  body: { error: "there is nothing here" },
};

export function catalogService(self: Self): Service {
  return ({ method, path }) => {
    if (method !== "GET") return notAllowed("GET");
    if (path === "/products")
      return {
        status: 200,
        body: { servedBy: self.instance, products: PRODUCTS },
      };
    const product = PRODUCTS.find(({ id }) => path === `/products/${id}`);
    return product === undefined
      ? NOT_FOUND
      : { status: 200, body: { servedBy: self.instance, ...product } };
  };
}

/** Orders live in one SQLite file that all instances share, so that what one takes the other shows. */
export function ordersService(self: Self, database: string): Service {
  // Several instances open the file at once: each waits its turn.
  const db = new DatabaseSync(database, { timeout: 5000 });
  db.exec(
    "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY AUTOINCREMENT, product TEXT NOT NULL, taken_by TEXT NOT NULL)",
  );
  const insert = db.prepare(
    "INSERT INTO orders (product, taken_by) VALUES (?, ?)",
  );
  const count = db.prepare("SELECT count(*) AS n FROM orders");
  const latest = db.prepare(
    "SELECT id, product, taken_by AS takenBy FROM orders ORDER BY id DESC LIMIT 5",
  );
  return ({ method, path, body }) => {
    if (path !== "/orders") return NOT_FOUND;
    if (method === "GET")
      return {
        status: 200,
        body: {
          servedBy: self.instance,
          count: count.get()?.["n"],
          latest: latest.all(),
        },
      };
    if (method !== "POST") return notAllowed("GET or POST");
    const product = fieldOf(body, "product");
    if (
      typeof product !== "string" ||
      !PRODUCTS.some(({ id }) => id === product)
    )
      return {
        status: 400,
        body: {
          error: `invalid product: expected one of ${PRODUCTS.map(({ id }) => id).join(", ")}`,
        },
      };
    const { lastInsertRowid } = insert.run(product, self.instance);
    return {
      status: 201,
      body: { servedBy: self.instance, id: Number(lastInsertRowid), product },
    };
  };
}

/** Version 2 asks a fee in the thousand, version 1 a flat one. */
export function paymentsService(self: Self): Service {
  const feeOf = (amount: number): number =>
    self.version === "v1" ? 30 : Math.round(amount * 0.014);
  return ({ method, path, query, body }) => {
    if (path === "/quote" && method === "GET") {
      const amount = Number(query.get("amount") ?? "1000");
      if (!Number.isFinite(amount) || amount < 0)
        return {
          status: 400,
          body: { error: "amount: expected cents, 0 or more" },
        };
      return {
        status: 200,
        body: {
          servedBy: self.instance,
          version: self.version,
          amount,
          fee: feeOf(amount),
        },
      };
    }
    if (path === "/payments" && method === "POST") {
      const amount = fieldOf(body, "amount");
      if (typeof amount !== "number" || amount < 0)
        return {
          status: 400,
          body: { error: "amount: expected cents, 0 or more" },
        };
      return {
        status: 201,
        body: {
          servedBy: self.instance,
          version: self.version,
          charged: amount + feeOf(amount),
        },
      };
    }
    return NOT_FOUND;
  };
}

/** The page that a customer sees, and the purchase. */
export function webService(self: Self): Service {
  return async (call) => {
    if (call.path === "/" && call.method === "GET") return showShop(self, call);
    if (call.path === "/buy" && call.method === "POST") return buy(self, call);
    if (call.path === "/healthz") return { status: 200, body: { ok: true } };
    return NOT_FOUND;
  };
}

async function showShop(self: Self, call: Call): Promise<Answer> {
  const [catalog, orders, payments] = await Promise.all([
    call.caller("catalog.shop", "/products"),
    call.caller("orders.shop", "/orders"),
    call.caller("payments.shop", "/quote?amount=4900"),
  ]);
  const parts = {
    web: { servedBy: self.instance },
    catalog: part(catalog),
    orders: part(orders),
    payments: part(payments),
  };
  const status = [catalog, orders, payments].every(
    (reply) => reply.status === 200,
  )
    ? 200
    : 502;
  return call.accept.includes("text/html")
    ? { status, type: "text/html; charset=utf-8", body: shopPage(parts) }
    : { status, body: parts };
}

async function buy(self: Self, call: Call): Promise<Answer> {
  const product =
    PRODUCTS.find(({ id }) => id === fieldOf(call.body, "product")) ??
    PRODUCTS[0];
  const order = await call.caller("orders.shop", "/orders", {
    method: "POST",
    body: { product: product?.id },
  });
  if (order.status !== 201)
    return {
      status: 502,
      body: { web: { servedBy: self.instance }, order: part(order) },
    };
  const payment = await call.caller("payments.shop", "/payments", {
    method: "POST",
    body: { amount: product?.price },
  });
  return {
    status: payment.status === 201 ? 201 : 502,
    body: {
      web: { servedBy: self.instance },
      order: part(order),
      payment: part(payment),
    },
  };
}

/** What the page shows of one reply: its content, or why there is none. */
function part(reply: Reply): unknown {
  if (reply.status > 0 && reply.status < 300) return reply.body;
  return {
    status: reply.status,
    ...(reply.reason === undefined ? {} : { reason: reply.reason }),
    error: reply.body,
  };
}

function notAllowed(allowed: string): Answer {
  return {
    status: 405,
    body: { error: `method not allowed: expected ${allowed}` },
  };
}

function fieldOf(body: unknown, name: string): unknown {
  return typeof body === "object" && body !== null
    ? (body as Record<string, unknown>)[name]
    : undefined;
}

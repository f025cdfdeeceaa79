/** What a route answers by itself, field by field (HTTPRequestRedirectFilter, HTTPCORSFilter). */
import t from "tap";
import { compileCors } from "../../../src/policy/routing/cors.ts";
import {
  localAnswer,
  type LocalAnswer,
} from "../../../src/policy/compile/local-response.ts";
import { readRequest } from "../../../src/policy/path.ts";
import type {
  PreflightDecision,
  RedirectDecision,
} from "../../../src/policy/snapshot.ts";

const rule = { route: "shop/orders", rule: 0, match: 0 };
const cors = compileCors({
  allowOrigins: ["https://a.example"],
  allowMethods: ["PUT"],
});
const redirect: RedirectDecision = {
  kind: "redirect",
  rule,
  redirect: {
    status: 308,
    scheme: "https",
    host: "new.example",
    port: undefined,
    path: undefined,
  },
  responseFilters: undefined,
  cors: undefined,
};
const preflight: PreflightDecision = { kind: "preflight", rule, cors };
const moved = { name: "location", value: "https://new.example/a/b?q=1" };

function answer(
  decision: RedirectDecision | PreflightDecision,
  headers: Record<string, string> = {},
): LocalAnswer {
  const read = readRequest(
    {
      method: decision.kind === "preflight" ? "OPTIONS" : "GET",
      scheme: "http",
      authority: "orders.shop:8080",
      path: "/a//b?q=1",
      fields: Object.entries(headers).map(([name, value]) => ({ name, value })),
    },
    "MERGE_SLASHES",
  );
  if (!read.ok) throw new Error(read.detail);
  return localAnswer(decision, "orders.shop:8080", read, 8080);
}

void t.test("a redirect is its Location", (t) => {
  t.strictSame(answer(redirect), {
    status: 308,
    location: moved.value,
    fields: [moved],
    edits: undefined,
  });
  t.end();
});

void t.test(
  "a redirect has CORS first, then the header filters of the rule",
  (t) => {
    const responseFilters = {
      set: [{ name: "x-set", value: "1" }],
      add: [],
      remove: new Set(["vary"]),
    };
    const { fields, location } = answer(
      { ...redirect, cors, responseFilters },
      { origin: "https://a.example" },
    );
    t.equal(location, moved.value);
    t.strictSame(fields, [
      moved,
      { name: "access-control-allow-origin", value: "https://a.example" },
      { name: "x-set", value: "1" },
    ]);
    t.end();
  },
);

void t.test(
  "a preflight has no Location, and leave only for its origin",
  (t) => {
    for (const [origin, granted] of [
      ["https://a.example", true],
      ["https://b.test", false],
    ] as const) {
      const { status, location, fields, edits } = answer(preflight, {
        origin,
        "access-control-request-method": "PUT",
      });
      t.strictSame([status, location, edits], [204, undefined, undefined]);
      const names = fields.map(({ name }) => name);
      t.equal(names.includes("access-control-allow-origin"), granted, origin);
      t.equal(names.includes("access-control-allow-methods"), granted);
      t.ok(names.includes("vary"));
    }
    t.end();
  },
);

/** The demo's own calls: what keeps the shop from its first page is said, and the shop opens all the same. */
import { createServer } from "node:http";
import t, { type Test } from "tap";
import { UserError } from "../../src/core/errors.ts";
import { firstPage } from "../../src/demo/http.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";
import { listening } from "../support/meshes/pair.ts";

const REFUSED = JSON.stringify(
  {
    web: { servedBy: "web-1" },
    orders: { status: 403, reason: "DENIED; policy=shop/no-orders" },
  },
  undefined,
  2,
);

/** What `firstPage` says of a shop that answers so, one after the other, and then the last. */
async function pageOf(
  t: Test,
  answers: readonly (readonly [number, string])[],
): Promise<unknown> {
  const clock = fakeClock();
  let asked = 0;
  const server = createServer((_request, response) => {
    const [status, text] = answers[Math.min(asked, answers.length - 1)] ?? [
      500,
      "",
    ];
    asked += 1;
    response.writeHead(status).end(text);
  });
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${await listening(server)}/`;
  return ended(firstPage(url, clock, new AbortController().signal), clock);
}

/** A second passes with each wait. */
async function ended<T>(running: Promise<T>, clock: FakeClock): Promise<T> {
  const state = { over: false };
  const settled = (): void => void (state.over = true);
  running.then(settled, settled);
  while (!state.over) {
    if (clock.pending > 0) clock.advance(1000);
    await new Promise((resolve) => void setImmediate(resolve));
  }
  return running;
}

void t.test("the shop's first page", async (t) => {
  t.equal(await pageOf(t, [[200, "{}"]]), undefined);
  t.equal(
    await pageOf(t, [
      [502, "not yet"],
      [200, "{}"],
    ]),
    undefined,
    "a part that is late is waited for",
  );
  t.match(
    await pageOf(t, [[502, REFUSED]]),
    { status: 502, reason: "DENIED", policy: "shop/no-orders" },
    "a policy is not",
  );
  t.match(
    await pageOf(t, [[500, "broken"]]),
    { status: 500, text: "broken", policy: undefined },
    "nor for ever what says nothing of its cause",
  );
});

void t.test("a shop that nobody answers for is an error", async (t) => {
  const server = createServer();
  const port = await listening(server);
  server.close();
  const clock = fakeClock();
  const url = `http://127.0.0.1:${port}/`;
  await t.rejects(
    ended(firstPage(url, clock, new AbortController().signal), clock),
    UserError,
  );
});

/** When an endpoint is held to have stopped answering, and when it is only slow: from the requests that it has open, beside its siblings'. */
import t from "tap";
import {
  OpenCalls,
  type OpenCall,
} from "../../../src/policy/balance/open-calls.ts";
import { Peers, stallOf, wordsOf } from "../../../src/policy/balance/stall.ts";

function open(): OpenCall & { readonly told: number[] } {
  const told: number[] = [];
  return {
    told,
    sentAt: 0,
    answering: false,
    bytes: 0,
    listed: false,
    older: undefined,
    younger: undefined,
    stalled: (now) => told.push(now),
  };
}

/** A request that takes so long to its head, and so long to its end; without either it stays open. */
function request(
  calls: OpenCalls,
  at: number,
  head?: number,
  end?: number,
): OpenCall {
  const call = open();
  calls.sent(call, at);
  if (head !== undefined) calls.headed(call, true, at + head);
  if (end !== undefined) calls.over(call, true, at + end);
  return call;
}

/** So many requests in so many milliseconds, each responded to after `ms`. */
function quick(calls: OpenCalls, from: number, to: number, ms: number): void {
  for (let at = from; at < to; at += 5) request(calls, at, ms, ms);
}

type Facts = readonly [
  title: string,
  /** When requests were sent that have no response. */
  waiting: readonly number[],
  now: number,
  stalled: boolean,
  more?: {
    /** Milliseconds that siblings take. */
    readonly sibling?: number;
    /** Until when siblings respond. */
    readonly until?: number;
    readonly onTrial?: boolean;
    /** When a request was sent that was responded to. */
    readonly answered?: number;
    /** When a request of our own was answered. */
    readonly proved?: number;
  },
];

const TABLE: readonly Facts[] = [
  ["nothing waits", [], 5000, false],
  ["one has waited for less than half a second", [1000], 1499, false],
  ["one has waited for longer", [1000], 1501, true],
  [
    "one, and nineteen younger ones were served elsewhere",
    [1000],
    1999,
    false,
    { until: 1100 },
  ],
  ["the same for a second", [1000], 2001, true, { until: 1100 }],
  [
    "one, and twenty younger ones were served elsewhere",
    [1000],
    1501,
    true,
    { until: 1105 },
  ],
  [
    "one, and siblings take a fifth of that",
    [1000],
    1550,
    false,
    { sibling: 200 },
  ],
  ["two: a quarter of a second", [1000, 1010], 1251, true],
  ["two, not that long", [1000, 1010], 1240, false],
  ["three: a tenth", [1000, 1010, 1020], 1101, true],
  ["five: a twentieth", [1, 2, 3, 4, 5].map((n) => 1000 + n), 1052, true],
  [
    "a younger one was responded to: it is a slow one",
    [1000],
    9000,
    false,
    { answered: 1001 },
  ],
  [
    "an older one was: that says nothing",
    [1000],
    2001,
    true,
    { answered: 999 },
  ],
  [
    "siblings take just as long",
    [1000, 1010, 1020],
    1600,
    false,
    { sibling: 400 },
  ],
  ["siblings take a third", [1000, 1010, 1020], 2600, true, { sibling: 400 }],
  [
    "siblings have stopped too",
    [1000, 1010, 1020],
    3000,
    false,
    { until: 990 },
  ],
  ["on trial one is enough", [1000], 1051, true, { onTrial: true }],
  ["on trial, not yet", [1000], 1040, false, { onTrial: true }],
  [
    "our own request was answered since",
    [1000, 1001, 1002],
    9000,
    false,
    { proved: 1200 },
  ],
  [
    "it was, but these came after it",
    [1300, 1301, 1302],
    9000,
    true,
    { proved: 1200 },
  ],
];

for (const [title, waiting, now, stalled, more = {}] of TABLE)
  void t.test(`without a response: ${title}`, (t) => {
    const self = new OpenCalls();
    const sibling = new OpenCalls();
    quick(self, 0, 900, 3);
    quick(sibling, 0, more.until ?? now, more.sibling ?? 3);
    const { answered } = more;
    const sent = [...waiting, ...(answered === undefined ? [] : [answered])];
    for (const at of sent.sort((one, other) => one - other))
      if (at === answered) request(self, at, 1, 1);
      else request(self, at);
    if (more.proved !== undefined) self.proved(more.proved);
    const found = stallOf(
      self,
      new Peers(() => [self, sibling]),
      more.onTrial ?? false,
      now,
    );
    t.equal(found !== undefined, stalled, JSON.stringify(found));
    t.end();
  });

void t.test(
  "without siblings nobody is stalled, nor where all poll for long",
  (t) => {
    const alone = new OpenCalls();
    quick(alone, 0, 900, 3);
    for (const at of [1000, 1001, 1002]) request(alone, at);
    t.equal(stallOf(alone, new Peers(() => [alone]), false, 60_000), undefined);
    const polled = [new OpenCalls(), new OpenCalls(), new OpenCalls()];
    for (const each of polled)
      for (let at = 0; at < 300_000; at += 30_000)
        request(each, at, 30_000, 30_000);
    for (const [index, each] of polled.entries())
      request(each, 300_000 + index);
    for (const each of polled)
      t.equal(
        stallOf(each, new Peers(() => polled), false, 320_000),
        undefined,
      );
    t.end();
  },
);

void t.test("a response that does not end while those of siblings do", (t) => {
  const self = new OpenCalls();
  const sibling = new OpenCalls();
  quick(self, 0, 900, 3);
  quick(sibling, 0, 3000, 3);
  const dripping = [1000, 1001, 1002].map((at) => request(self, at, 2));
  const peers = (): Peers => new Peers(() => [self, sibling]);
  t.equal(stallOf(self, peers(), false, 1099), undefined, "not yet");
  const found = stallOf(self, peers(), false, 1103);
  t.match(found, { kind: "unfinished", count: 3, proven: false });
  t.match(
    found && wordsOf(found),
    "3 responses without an end, the oldest for 103 ms; siblings complete 99 % within 4 ms",
  );
  t.equal(stallOf(self, peers(), false, 2001)?.proven, true);
  for (const each of dripping) each.bytes = 30_000;
  t.equal(stallOf(self, peers(), false, 2001), undefined, "it is a long one");
  t.match(
    stallOf(self, peers(), false, 2999),
    { count: 3 },
    "too slow for that",
  );
  for (const each of dripping) self.leave(each);
  t.equal(stallOf(self, peers(), false, 3001), undefined, "endless ones leave");
  t.end();
});

void t.test(
  "five wait while twenty younger ones were served elsewhere: whatever is usual",
  (t) => {
    const self = new OpenCalls();
    const sibling = new OpenCalls();
    // The first calls were slow.
    for (let at = 0; at < 500; at += 10) request(sibling, at, 500, 500);
    for (const at of [1000, 1001, 1002, 1003, 1004]) request(self, at);
    const found = (): boolean =>
      stallOf(self, new Peers(() => [self, sibling]), false, 1100) !==
      undefined;
    for (let at = 1005; at < 1024; at += 1) request(sibling, at, 30, 30);
    t.equal(found(), false, "nineteen");
    request(sibling, 1024, 30, 30);
    t.equal(found(), true);
    t.end();
  },
);

void t.test(
  "callers that give up leave their evidence, until a younger request is responded to",
  (t) => {
    const self = new OpenCalls();
    const sibling = new OpenCalls();
    quick(sibling, 0, 3000, 3);
    const calls = [1000, 1010, 1020].map((at) => request(self, at));
    for (const each of calls) self.over(each, false, 1200);
    const found = (): unknown =>
      stallOf(self, new Peers(() => [self, sibling]), false, 2500);
    t.match(found(), { count: 3, age: 200 });
    t.equal(self.quiet, false);
    request(self, 2000, 3, 3);
    t.equal(found(), undefined);
    t.equal(self.quiet, true);
    t.end();
  },
);

void t.test(
  "what a sidecar responds by itself is no sign of its application",
  (t) => {
    const self = new OpenCalls();
    const waits = request(self, 1000);
    const refused = open();
    self.sent(refused, 1001);
    self.headed(refused, false, 1002);
    t.equal(refused.listed, false);
    t.equal(self.waited(1500), 500);
    self.tell(1500);
    t.same((waits as OpenCall & { told: number[] }).told, [1500]);
    t.end();
  },
);

void t.test("the order holds whoever leaves first", (t) => {
  const self = new OpenCalls();
  const calls = [1, 2, 3, 4].map((at) => request(self, at));
  for (const index of [1, 3, 0, 2]) {
    const call = calls[index];
    if (call !== undefined) self.leave(call);
    if (call !== undefined) self.leave(call);
  }
  t.equal(self.newest, undefined);
  t.equal(self.oldest, undefined);
  t.end();
});

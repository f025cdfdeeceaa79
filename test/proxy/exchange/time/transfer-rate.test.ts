/** How slow an exchange may be: who has to send and take how fast, and for how long nothing may come. */
import t from "tap";
import { DEFAULT_LIMITS } from "../../../../src/proxy/downstream/limits.ts";
import {
  TransferRate,
  type TransferState,
} from "../../../../src/proxy/exchange/time/transfer-rate.ts";
import type { ServerStream } from "../../../../src/wire/exchange.ts";
import { makeField } from "../../../../src/wire/fields.ts";

/** As much of a stream as is looked at. */
function stream(peer: string | undefined, expect?: string): ServerStream {
  return {
    head: {
      fields: expect === undefined ? [] : [makeField("expect", expect)],
    },
    connection: { peer },
  } as unknown as ServerStream;
}

const RATE = 240;
const limits = {
  bodyRate: RATE,
  sendGrace: 10_000,
  takeTimeout: 60_000,
  shortTimeout: 5000,
};
const HOST = { limits, short: false };

/** A caller that has sent nothing of its body yet; but for `differs`. */
function state(differs: Partial<TransferState> = {}): TransferState {
  return {
    still: 0,
    holds: false,
    waits: true,
    responded: false,
    received: 0,
    continued: false,
    ...differs,
  };
}

/** Seconds until a stranger that sends `octets` each second is cut off; undefined where that is not within a quarter of an hour. */
function patience(octets: (second: number) => number): number | undefined {
  const pace = new TransferRate(HOST, stream(undefined), false);
  let received = 0;
  for (let second = 1; second <= 900; second += 1) {
    received += octets(second);
    if (pace.judge(1000, state({ received })) !== undefined) return second;
  }
  return undefined;
}

const PATIENCE: readonly (readonly [
  what: string,
  octets: (second: number) => number,
  seconds: number | undefined,
])[] = [
  ["nothing comes", () => 0, 10],
  ["one octet a second comes", () => 1, 11],
  ["half the rate comes", () => RATE / 2, 20],
  ["the rate comes", () => RATE, undefined],
  ["all came at once, then nothing", (s) => (s === 1 ? 1e9 : 0), 11],
  [
    "nothing for nine seconds, then enough",
    (s) => (s % 10 ? 0 : 2400),
    undefined,
  ],
  ["enough for an hour, then nothing", (s) => (s < 60 ? RATE : 0), 69],
];
for (const [what, octets, seconds] of PATIENCE)
  void t.test(`${what}: cut off after ${seconds ?? "no"} s`, (t) => {
    t.equal(patience(octets), seconds);
    t.end();
  });

const CALLERS: readonly (readonly [
  who: string,
  peer: string | undefined,
  inside: boolean,
  sends: boolean,
  takes: boolean,
])[] = [
  ["a stranger", undefined, false, true, true],
  ["a peer", "spiffe://cluster.local/ns/shop/sa/web", true, true, false],
  ["the own application", undefined, true, false, false],
];
for (const [who, peer, inside, sends, takes] of CALLERS)
  void t.test(
    `${who} must ${sends ? "" : "not "}send fast enough, and must ${takes ? "" : "not "}take its answer in time`,
    (t) => {
      const pace = new TransferRate(HOST, stream(peer), inside);
      const answer = { responded: true, holds: true };
      t.equal(
        pace.judge(60_000, state())?.code,
        sends ? "REQUEST_STALLED" : undefined,
      );
      t.equal(
        pace.judge(1000, state({ ...answer, still: 60_000 }))?.code,
        takes ? "RESPONSE_STALLED" : undefined,
      );
      t.equal(pace.judge(1000, state({ ...answer, still: 59_900 })), undefined);
      t.end();
    },
  );

void t.test(
  "who expects 100 (Continue) may wait for it (RFC 9110 10.1.1)",
  (t) => {
    const pace = new TransferRate(
      HOST,
      stream(undefined, "100-continue"),
      false,
    );
    t.equal(pace.judge(60_000, state()), undefined);
    t.match(pace.judge(60_000, state({ continued: true })), {
      code: "REQUEST_STALLED",
    });
    t.end();
  },
);

void t.test("a rate of 0 is none", (t) => {
  const pace = new TransferRate(
    { ...HOST, limits: { ...limits, bodyRate: 0 } },
    stream(undefined),
    false,
  );
  t.equal(pace.judge(60_000, state()), undefined);
  t.end();
});

const SHORT: readonly (readonly [
  what: string,
  short: boolean,
  differs: Partial<TransferState>,
  code: string | undefined,
])[] = [
  [
    "holds octets and stands still",
    true,
    { holds: true, still: 5000 },
    "OVERLOADED",
  ],
  ["holds octets and moves", true, { holds: true, still: 4900 }, undefined],
  ["stands still and holds nothing", true, { still: 600_000 }, undefined],
  [
    "stands still while there is memory",
    false,
    { holds: true, still: 59_000 },
    undefined,
  ],
];
for (const [what, short, differs, code] of SHORT)
  void t.test(
    `an exchange that ${what}${short ? " while memory is short" : ""}: ${code ?? "goes on"}, whoever calls, in a dialogue too`,
    (t) => {
      for (const [, peer, inside] of CALLERS) {
        const pace = new TransferRate({ limits, short }, stream(peer), inside);
        const error = pace.judge(
          1000,
          state({ waits: false, responded: true, ...differs }),
        );
        t.equal(error?.code, code);
      }
      t.end();
    },
  );

void t.test("the defaults are those that the stories go by", (t) => {
  t.match(DEFAULT_LIMITS, limits);
  t.end();
});

/** FaultInjection: what is admitted, for whom it is, and that it must end. */
import t from "tap";
import { FAULT_INJECTION } from "../../src/resources/fault-injection/schema.ts";
import {
  describeFault,
  isFaultCaller,
} from "../../src/resources/fault-injection/spec.ts";
import { checkExpiry } from "../../src/resources/fault-injection/check.ts";
import { lintText } from "../support/resources/lint-text.ts";
import {
  resourceOf,
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const base = {
  targetRefs: [{ kind: "Service", name: "reviews" }],
  expiresAt: "2026-12-01T00:00:00Z",
} as const;
const fault = (fields: object, ...expected: Expected[]): Case => [
  JSON.stringify(fields),
  { ...base, ...fields },
  ...expected,
];
const reset = { percentage: 1 };

void t.test("what it does", (t) => {
  runCases(t, FAULT_INJECTION, [
    fault({ delay: { fixedDelay: "2s", percentage: 10 } }),
    fault({ abort: { httpStatus: 503, percentage: 0.5 } }),
    fault({ abort: { grpcStatus: "UNAVAILABLE", percentage: 1 } }),
    fault({ reset }),
    fault({ bandwidth: { kibibytesPerSecond: 64, percentage: 100 } }),
    fault({}, ["spec", /does nothing: give it one of delay, abort, reset/]),
    fault({ delay: { fixedDelay: "2s" } }, [
      "spec.delay",
      /percentage is 0 where it is left out/,
    ]),
    fault({ delay: { percentage: 1 } }, [
      "spec.delay.fixedDelay",
      /is required/,
    ]),
    fault({ delay: { fixedDelay: "0s", percentage: 1 } }, [
      "spec.delay.fixedDelay",
      /must be from 1ms to 1h/,
    ]),
    fault({ delay: { fixedDelay: "61m", percentage: 1 } }, [
      "spec.delay.fixedDelay",
      /must be from 1ms to 1h/,
    ]),
    fault({ abort: { percentage: 1 } }, [
      "spec.abort",
      /needs one of httpStatus and grpcStatus/,
    ]),
    fault(
      { abort: { httpStatus: 500, grpcStatus: "INTERNAL", percentage: 1 } },
      ["spec.abort", /needs one of/],
    ),
    fault({ abort: { httpStatus: 200, percentage: 1 } }, [
      "spec.abort.httpStatus",
      /200 is below 400/,
    ]),
    fault({ abort: { grpcStatus: "OK", percentage: 1 } }, [
      "spec.abort.grpcStatus",
      /is not one of CANCELLED/,
    ]),
    fault({ reset: { percentage: 101 } }, [
      "spec.reset.percentage",
      /above 100/,
    ]),
  ]);
  t.end();
});

void t.test("for whom, and until when", (t) => {
  runCases(t, FAULT_INJECTION, [
    fault({
      reset,
      from: [{ namespace: "shop", labels: { app: "web" } }, { namespace: "a" }],
      matches: [{ headers: [{ name: "x-chaos", value: "1" }] }],
    }),
    fault({ reset, from: [] }, ["spec.from", /is empty: that is ambiguous/]),
    fault({ reset, from: [{}] }, ["spec.from[0]", /is empty/]),
    fault({ reset, matches: [{ path: { value: "a" } }] }, [
      "spec.matches[0].path.value",
      /must start with "\/"/,
    ]),
    fault({ reset, targetRefs: [...base.targetRefs, ...base.targetRefs] }, [
      "spec.targetRefs[1]",
      /is there already/,
    ]),
    [
      "without an end",
      { targetRefs: base.targetRefs, reset },
      ["spec.expiresAt", /is required: an RFC 3339 time/],
    ],
    fault({ reset, expiresAt: "tomorrow" }, ["spec.expiresAt", /RFC 3339/]),
    fault({ reset, expiresAt: "2026-13-01T00:00:00Z" }, [
      "spec.expiresAt",
      /the calendar does not have/,
    ]),
  ]);
  t.end();
});

void t.test("it must end within 24 hours of being written", (t) => {
  const resource = resourceOf(FAULT_INJECTION, { ...base, reset });
  const end = Date.UTC(2026, 11, 1);
  for (const [wall, expected] of [
    [end - 86_400_000, []],
    [end - 86_400_001, ["error"]],
    [end - 1, []],
    [end, ["warning"]],
  ] as const)
    t.strictSame(
      checkExpiry(resource as never, wall).map(
        ({ severity }) => severity ?? "error",
      ),
      expected,
      String(end - wall),
    );
  const findings = lintText(JSON.stringify(resource), "fault.json", {
    wall: 0,
  });
  t.match(
    findings.map(({ message }) => message),
    [/there is no Service/, /must end within a day/],
  );
  t.strictSame(
    checkExpiry({ ...(resource as never as object), kind: "Mesh" } as never, 0),
    [],
  );
  t.end();
});

void t.test(
  "the callers that it is for, by what their certificate binds (trap 16)",
  (t) => {
    const web = { namespace: "shop", labels: { app: "web", tier: "front" } };
    const spec = { ...base, reset };
    for (const [from, expected] of [
      [undefined, true],
      [[{ namespace: "shop" }], true],
      [[{ namespace: "other" }], false],
      [[{ labels: { app: "web" } }], true],
      [[{ labels: { app: "web", tier: "back" } }], false],
      [[{ namespace: "other", labels: { app: "web" } }], false],
      [[{ namespace: "other" }, { labels: { tier: "front" } }], true],
    ] as const)
      t.equal(
        isFaultCaller(from === undefined ? spec : { ...spec, from }, web),
        expected,
        JSON.stringify(from),
      );
    t.end();
  },
);

void t.test("in words", (t) => {
  t.equal(
    describeFault({
      ...base,
      delay: { fixedDelay: "2s", percentage: 10 },
      abort: { grpcStatus: "INTERNAL", percentage: 1 },
      reset: {},
      bandwidth: { kibibytesPerSecond: 8, percentage: 100 },
    }),
    "delay 2s 10 %, abort INTERNAL 1 %, reset 0 %, bandwidth 8 KiB/s 100 %",
  );
  t.end();
});

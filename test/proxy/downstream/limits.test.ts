/** What all callers together may cost: from the options, and from what the process may use. */
import t from "tap";
import {
  DEFAULT_LIMITS,
  resolveLimits,
} from "../../../src/proxy/downstream/limits.ts";

const PLENTY = { descriptors: 1_000_000, memoryBytes: 0 };

void t.test(
  "without options and with plenty of everything, the defaults",
  (t) => {
    t.strictSame(resolveLimits({}, PLENTY), DEFAULT_LIMITS);
    t.end();
  },
);

void t.test("with few descriptors, half of them are for callers", (t) => {
  t.match(resolveLimits({}, { descriptors: 1024, memoryBytes: 0 }), {
    connections: 384,
    connectionsPerListener: 288,
  });
  t.equal(
    resolveLimits({ connections: 5000 }, { descriptors: 1024, memoryBytes: 0 })
      .connections,
    384,
    "whatever is asked for",
  );
  for (const [descriptors, connections] of [
    [256, 64],
    [10, 2],
    [1, 1],
  ] as const)
    t.equal(
      resolveLimits({}, { descriptors, memoryBytes: 0 }).connections,
      connections,
    );
  t.end();
});

void t.test("options go before what is found", (t) => {
  t.match(
    resolveLimits(
      {
        connections: 100,
        connectionsPerAddress: 10,
        bodyRate: 0,
        memoryBytes: 5,
      },
      { descriptors: 1024, memoryBytes: 7 },
    ),
    {
      connections: 100,
      connectionsPerListener: 75,
      connectionsPerAddress: 10,
      connectionsPerIdentity: 40,
      bodyRate: 0,
      memoryBytes: 5,
    },
  );
  t.equal(resolveLimits({}, { ...PLENTY, memoryBytes: 7 }).memoryBytes, 7);
  t.end();
});

void t.test("of this very process something is found", (t) => {
  const { connections, memoryBytes } = resolveLimits();
  t.ok(connections > 0 && connections <= DEFAULT_LIMITS.connections);
  t.ok(Number.isSafeInteger(memoryBytes));
  t.end();
});

for (const [mebibytes, limits] of [
  [
    64,
    {
      connections: 2048,
      requests: 1024,
      streamsPerAddress: 256,
      bufferedBytes: 8 * 1_048_576,
    },
  ],
  [
    256,
    {
      connections: 8192,
      requests: 2048,
      streamsPerAddress: 512,
      bufferedBytes: 16 * 1_048_576,
    },
  ],
  [
    65_536,
    {
      connections: DEFAULT_LIMITS.connections,
      requests: DEFAULT_LIMITS.requests,
      streamsPerAddress: DEFAULT_LIMITS.streamsPerAddress,
      bufferedBytes: DEFAULT_LIMITS.bufferedBytes,
    },
  ],
] as const)
  void t.test(`what ${mebibytes} MiB allow`, (t) => {
    const memoryBytes = mebibytes * 1_048_576;
    t.match(resolveLimits({}, { ...PLENTY, memoryBytes }), limits);
    t.end();
  });

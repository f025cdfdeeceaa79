/** The step in which a request is checked: in turn, at once or after a wait, and everything that ends a wait. */
import t from "tap";
import { Deadlines } from "../../../src/core/deadlines.ts";
import { MeshError } from "../../../src/mesh/errors.ts";
import type { InboundPort, Snapshot } from "../../../src/policy/snapshot.ts";
import type {
  Answered,
  BodyNeed,
  Check,
  Question,
} from "../../../src/proxy/checks/check.ts";
import { CheckedRequest } from "../../../src/proxy/checks/checked-request.ts";
import { HeldStream } from "../../../src/proxy/checks/held-stream.ts";
import { runChecks } from "../../../src/proxy/checks/waiting.ts";
import { LongLived } from "../../../src/proxy/exchange/long-lived.ts";
import type { RelayHost } from "../../../src/proxy/exchange/relay-host.ts";
import { makeReplayBudget } from "../../../src/proxy/exchange/replay.ts";
import { watchIdle } from "../../../src/proxy/exchange/time/idle.ts";
import { readRequest } from "../../../src/policy/path.ts";
import { MESH_DEFAULTS } from "../../../src/resources/mesh/schema.ts";
import { Buffers } from "../../../src/wire/buffers.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  scriptedStream,
  type ScriptedStream,
} from "../../support/checks/scripted-stream.ts";

const DENIED = new MeshError("DENIED", "no");

/** A question that a test answers. */
class Asked implements Question {
  readonly timeout = 200;
  readonly body?: BodyNeed | undefined;
  readonly seen: string[];
  readonly #late: MeshError | undefined;
  answer: Answered = () => undefined;

  constructor(seen: string[], late?: MeshError, body?: BodyNeed) {
    this.seen = seen;
    this.#late = late;
    this.body = body;
  }

  ask(done: Answered): () => void {
    this.seen.push("asked");
    this.answer = done;
    return () => this.seen.push("called off");
  }

  late(): MeshError | undefined {
    this.seen.push("late");
    return this.#late;
  }
}

interface Scene {
  readonly clock: FakeClock;
  readonly stream: ScriptedStream;
  readonly request: CheckedRequest;
  readonly host: RelayHost;
  readonly seen: string[];
  readonly record: { checked: number | undefined };
}

interface SceneOptions {
  readonly stream?: ScriptedStream;
  readonly checks: (seen: string[]) => readonly (Check | Check["begin"])[];
  readonly left?: number;
  readonly maxActive?: number;
  readonly bodyRate?: number;
}

function scene(options: SceneOptions): Scene {
  const { stream = scriptedStream({}, {}, true), left } = options;
  const clock = fakeClock();
  const deadlines = new Deadlines(clock);
  const buffers = new Buffers(1_000_000);
  const seen: string[] = [];
  const host: RelayHost = {
    ...{ clock, deadlines, buffers, short: false },
    idle: watchIdle(clock, deadlines),
    replay: makeReplayBudget(),
    limits: {
      bodyRate: options.bodyRate ?? 0,
      sendGrace: 2000,
      takeTimeout: 1000,
      shortTimeout: 1000,
    },
    policy: { changes: 0, current: undefined },
    fallen: new WeakMap(),
    maxActive: options.maxActive ?? 10,
    longLived: new LongLived(10),
  };
  const held = new HeldStream(stream, buffers);
  const read = readRequest(stream.head, "BASE");
  const request = new CheckedRequest(
    { mesh: MESH_DEFAULTS } as Snapshot,
    { targetPort: 8080 } as InboundPort,
    held,
    read.ok ? read : undefined,
    { providers: undefined },
  );
  const record = {
    startedAt: 0,
    readyAt: 0,
    checked: undefined as number | undefined,
    refuse: (error: MeshError) => {
      seen.push(`refused ${error.code}`);
    },
  };
  runChecks({
    ...{ host, record, request, inside: true, left },
    checks: options
      .checks(seen)
      .map((check) => (typeof check === "function" ? { begin: check } : check)),
    passed: () => seen.push("passed"),
  });
  return { clock, stream, request, host, seen, record };
}

void t.test("checks that know at once let nothing wait", (t) => {
  const { seen, host, stream, record } = scene({
    checks: (seen) => [
      () => void seen.push("one"),
      () => void seen.push("two"),
    ],
  });
  t.same(seen, ["one", "two", "passed"]);
  t.equal(host.idle.active, 0);
  t.equal(record.checked, undefined);
  t.throws(() => stream.receiver, "the stream is not held");
  const refused = scene({
    checks: (seen) => [() => DENIED, () => void seen.push("not reached")],
  });
  t.same(refused.seen, ["refused DENIED"]);
  t.end();
});

void t.test(
  "a question is waited for, and then the next check follows",
  (t) => {
    const asked: Asked[] = [];
    const ask = (seen: string[]) => (): Question => {
      const question = new Asked(seen);
      asked.push(question);
      return question;
    };
    const { seen, host, record, clock } = scene({
      checks: (seen) => [ask(seen), () => void seen.push("between"), ask(seen)],
    });
    t.same(seen, ["asked"]);
    t.equal(host.idle.active, 1, "it counts as a request in flight");
    clock.advance(150);
    asked[0]?.answer(() => undefined);
    t.same(seen, ["asked", "between", "asked"]);
    asked[0]?.answer(() => DENIED);
    t.equal(
      seen.length,
      3,
      "a second answer to the first question is not heard",
    );
    clock.advance(150);
    asked[1]?.answer(() => undefined);
    t.same(seen.slice(3), ["passed"]);
    t.equal(host.idle.active, 0);
    t.match(record, { checked: 300, readyAt: 300 });
    clock.advance(1000);
    t.equal(seen.length, 4, "no time-out is left behind");
    t.end();
  },
);

void t.test("what ends a wait", (t) => {
  const late = new MeshError("OVERLOADED", "late");
  const rows: {
    readonly what: string;
    readonly options?: Partial<SceneOptions>;
    readonly late?: MeshError;
    readonly happens: (scene: Scene, question: Asked) => void;
    readonly seen: readonly string[];
  }[] = [
    {
      what: "a refusal",
      happens: (_scene, question) => question.answer(() => DENIED),
      seen: ["asked", "refused DENIED"],
    },
    {
      what: "its time, which refuses",
      late,
      happens: ({ clock }) => clock.advance(250),
      seen: ["asked", "called off", "late", "refused OVERLOADED"],
    },
    {
      what: "its time, which passes",
      happens: ({ clock }) => clock.advance(250),
      seen: ["asked", "called off", "late", "passed"],
    },
    {
      what: "the caller's deadline",
      options: { left: 100 },
      happens: ({ clock }) => clock.advance(150),
      seen: ["asked", "called off", "refused DEADLINE_EXCEEDED"],
    },
    {
      what: "the caller's grpc-timeout",
      options: {
        stream: scriptedStream(
          {},
          { "content-type": "application/grpc", "grpc-timeout": "100m" },
          true,
        ),
      },
      happens: ({ clock }) => clock.advance(150),
      seen: ["asked", "called off", "refused DEADLINE_EXCEEDED"],
    },
    {
      what: "the caller, which goes away",
      happens: ({ stream }) =>
        stream.receiver.abort(new MeshError("CLIENT_CLOSED", "")),
      seen: ["asked", "called off", "refused CLIENT_CLOSED"],
    },
    {
      what: "want of room",
      happens: ({ host }) =>
        host.idle.idlers[0]?.giveUp(new MeshError("OVERLOADED", "")),
      seen: ["asked", "called off", "refused OVERLOADED"],
    },
  ];
  for (const { what, options, late, happens, seen } of rows) {
    let question: Asked | undefined;
    const held = scene({
      checks: (seen) => [() => (question = new Asked(seen, late))],
      ...options,
    });
    if (question !== undefined) happens(held, question);
    t.same(held.seen, seen, what);
    t.equal(held.host.idle.active, 0, `${what}: it is counted no more`);
    question?.answer(() => undefined);
    held.clock.advance(1000);
    t.same(held.seen, seen, `${what}: nothing comes after it`);
  }
  t.end();
});

void t.test("where no exchange more is taken, none waits", (t) => {
  const { seen } = scene({
    maxActive: 0,
    checks: (seen) => [() => new Asked(seen)],
  });
  t.same(seen, ["refused OVERLOADED"]);
  t.end();
});

void t.test("a defect in a question is an INTERNAL for this request", (t) => {
  const { seen, host } = scene({
    checks: (seen) => [
      () =>
        Object.assign(new Asked(seen), {
          ask: () => {
            throw new TypeError("a defect");
          },
        }),
    ],
  });
  t.same(seen, ["refused INTERNAL"]);
  t.equal(host.idle.active, 0);
  t.end();
});

void t.test("a body that has to be seen is waited for", (t) => {
  const rows: {
    readonly what: string;
    readonly partial: boolean;
    readonly pieces: readonly string[];
    readonly ends: boolean;
    readonly seen: readonly string[];
  }[] = [
    ...[true, false].map((partial) => ({
      what: "a whole body of the limit",
      ...{ partial, pieces: ["123", "45"], ends: true, seen: ["asked"] },
    })),
    {
      what: "not yet all",
      ...{ partial: true, pieces: ["12345"], ends: false, seen: [] },
    },
    {
      what: "the beginning of a longer one",
      ...{ partial: true, pieces: ["123", "456"], ends: false },
      seen: ["asked"],
    },
    {
      what: "a longer one that may not be cut",
      ...{ partial: false, pieces: ["123", "456"], ends: false },
      seen: ["refused BODY_TOO_LARGE"],
    },
    {
      what: "an empty one",
      ...{ partial: false, pieces: [], ends: true, seen: ["asked"] },
    },
  ];
  for (const { what, partial, pieces, ends, seen } of rows) {
    const held = scene({
      stream: scriptedStream(),
      checks: (seen) => [
        () => new Asked(seen, undefined, { bytes: 5, partial }),
      ],
    });
    for (const piece of pieces) held.stream.receiver.data(Buffer.from(piece));
    if (ends) held.stream.receiver.end(undefined);
    t.same(held.seen, seen, what);
  }
  t.end();
});

void t.test("a caller that waits for leave to send its body gets it", (t) => {
  const stream = scriptedStream({}, { expect: "100-continue" });
  const { seen, request } = scene({
    stream,
    checks: (seen) => [
      () => new Asked(seen, undefined, { bytes: 5, partial: true }),
    ],
  });
  t.same(stream.heard, ["informational 100"]);
  t.same(request.held.head.fields, [], "the application is not asked again");
  t.equal(request.factsOf(request.port).request?.header("expect"), undefined);
  stream.receiver.end(undefined);
  t.same(seen, ["asked"]);
  t.end();
});

void t.test("a body that comes too slowly is given up", (t) => {
  const { clock, seen } = scene({
    stream: scriptedStream(),
    bodyRate: 100,
    checks: (seen) => [
      () => new Asked(seen, undefined, { bytes: 5, partial: true }),
    ],
  });
  for (let tick = 0; tick < 40; tick += 1) clock.advance(100);
  t.same(seen, ["refused REQUEST_STALLED"]);
  t.end();
});

void t.test("a later check and the application see what one has set", (t) => {
  const { seen, request } = scene({
    checks: (seen) => [
      (request) => {
        const set = [{ name: "x-user", value: "alice" }];
        request.edit({ set, add: [], remove: new Set() });
        return undefined;
      },
      (request) =>
        void seen.push(
          request.factsOf(request.port).request?.header("x-user") ?? "",
        ),
    ],
  });
  t.same(seen, ["alice", "passed"]);
  t.equal(request.held.head.fields[0]?.value, "alice");
  t.end();
});

void t.test(
  "a defect in what a response does refuses this one request",
  (t) => {
    const defect = (): never => {
      throw new Error("a defect");
    };
    for (const [what, happens] of [
      ["answered", (_scene, question) => question.answer(defect)],
      [
        "late",
        ({ clock }, question) => {
          question.late = defect;
          clock.advance(200);
        },
      ],
    ] as readonly (readonly [
      string,
      (scene: Scene, question: Asked) => void,
    ])[]) {
      let question: Asked | undefined;
      const made = scene({
        checks: (seen) => [
          () => (question = new Asked(seen)),
          () => void seen.push("not reached"),
        ],
      });
      if (question !== undefined) happens(made, question);
      t.equal(made.seen.at(-1), "refused INTERNAL", what);
      t.notOk(made.seen.includes("not reached"), what);
      t.equal(made.host.idle.active, 0, what);
    }
    t.end();
  },
);

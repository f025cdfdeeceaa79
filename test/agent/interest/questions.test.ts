import t from "tap";
import type { NotKnown } from "../../../src/agent/interest/lookups.ts";
import {
  RESOLVE_WITHIN,
  MOST_OPEN,
  MOST_QUESTIONS,
  MOST_WAITING,
  NEW_QUESTIONS,
  Questions,
} from "../../../src/agent/interest/questions.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";

interface Asking {
  readonly clock: FakeClock;
  readonly questions: Questions;
  readonly asked: string[];
  readonly dropped: string[];
  /** Waits, and says what became of it. */
  readonly wait: (...names: string[]) => {
    result: "waits" | "known" | NotKnown["kind"];
  };
  /** These, and no others, are the answers in force. */
  readonly answer: (answers: Record<string, readonly string[]>) => void;
}

function asking(declared: readonly string[] = []): Asking {
  const clock = fakeClock();
  const asked: string[] = [];
  const dropped: string[] = [];
  let inForce = new Map<string, { services: readonly string[] }>();
  const questions = new Questions({
    clock,
    declared,
    onAsk: (name) => asked.push(name),
    onDrop: (name) => dropped.push(name),
    has: (service) => service !== "shop/unread",
    held: (name) => inForce.get(name)?.services,
  });
  return {
    clock,
    questions,
    asked,
    dropped,
    wait(...names) {
      const outcome: { result: "waits" | "known" | NotKnown["kind"] } = {
        result: "waits",
      };
      questions.wait(names, (failure) => {
        outcome.result = failure?.kind ?? "known";
      });
      return outcome;
    },
    answer(answers) {
      inForce = new Map(
        Object.entries(answers).map(([name, services]) => [name, { services }]),
      );
      questions.resolve(inForce);
    },
  };
}

const A = "Host//a.shop";
const B = "Host//b.shop";

void t.test("many wait for one question, until it is answered", (t) => {
  const { questions, asked, wait, answer } = asking();
  const first = wait(A);
  const second = wait(A);
  t.same(asked, [A]);
  t.notOk(questions.knows(A));
  t.same([first, second], [{ result: "waits" }, { result: "waits" }]);
  answer({ [A]: [] });
  t.same([first, second], [{ result: "known" }, { result: "known" }]);
  t.ok(questions.knows(A), "that there is none is known, too");
  t.same(wait(A), { result: "known" }, "and nobody waits for it again");
  t.same(asked, [A]);
  t.end();
});

void t.test("who wants to know two things waits for both", (t) => {
  const { wait, answer } = asking();
  const both = wait(A, B);
  answer({ [B]: [] });
  t.same(both, { result: "waits" });
  answer({ [A]: ["shop/a"], [B]: [] });
  t.same(both, { result: "known" });
  t.end();
});

void t.test("nobody waits for longer than an answer may take", (t) => {
  const { clock, questions, asked, dropped, wait, answer } = asking();
  const first = wait(A);
  clock.advance(RESOLVE_WITHIN - 1);
  const second = wait(A);
  t.same(first, { result: "waits" });
  clock.advance(1);
  t.same([first, second], [{ result: "late" }, { result: "late" }]);
  t.same(wait(A), { result: "late" }, "who comes later does not wait at all");
  t.same(asked, [A], "it is asked already");
  answer({ [A]: ["shop/a"] });
  t.ok(questions.knows(A), "a late answer is an answer");
  t.same(wait(A), { result: "known" });
  t.same(dropped, []);
  t.end();
});

void t.test(
  "a result that takes seconds on a busy machine is waited for",
  (t) => {
    const { clock, wait, answer } = asking();
    const first = wait(A);
    clock.advance(4000);
    const second = wait(A);
    t.same([first, second], [{ result: "waits" }, { result: "waits" }]);
    answer({ [A]: ["shop/a"] });
    t.same([first, second], [{ result: "known" }, { result: "known" }]);
    t.end();
  },
);

void t.test("a question that was lost is asked anew after a while", (t) => {
  const { questions, asked, dropped, wait } = asking();
  wait(A);
  questions.tick(60);
  t.same(dropped, []);
  questions.tick(60);
  t.same(dropped, [A]);
  wait(A);
  t.same(asked, [A, A]);
  t.end();
});

void t.test("a failure reaches those who wait, and is asked anew", (t) => {
  const { questions, asked, dropped, wait, answer } = asking();
  answer({ [A]: [] });
  const waiting = wait(A, B);
  questions.fail({ kind: "gone", detail: "" });
  t.same(waiting, { result: "gone" });
  t.same(dropped, [B]);
  wait(B);
  t.same(asked, [A, B, B]);
  t.end();
});

void t.test("an answer of no use for an hour is given back", (t) => {
  const { questions, dropped, wait, answer } = asking();
  wait(A);
  wait(B);
  answer({ [A]: [], [B]: [] });
  for (let minute = 1; minute < 60; minute += 1) {
    questions.tick(60);
    t.ok(questions.knows(A));
  }
  t.same(dropped, []);
  questions.tick(60);
  t.same(dropped, [B]);
  t.ok(questions.knows(A));
  t.notOk(questions.knows(B));
  t.end();
});

void t.test(
  "a config that is refused ends the wait for all that is asked, and for what is declared until another brings it",
  (t) => {
    const { clock, questions, wait, answer } = asking([A]);
    const waiting = [wait(A), wait(B)];
    questions.fail({ kind: "refused", detail: "it is too large" });
    t.same(waiting, [{ result: "refused" }, { result: "refused" }]);
    t.same(wait(A), { result: "refused" }, "at once: it is asked already");
    clock.advance(RESOLVE_WITHIN);
    t.same(wait(A), { result: "refused" }, "and that stays the reason");
    t.same(wait(B), { result: "waits" }, "it is asked anew");
    answer({ [A]: [] });
    t.same(wait(A), { result: "known" });
    t.end();
  },
);

void t.test(
  "a waiter that asks again as it is told of a failure gets that failure",
  (t) => {
    const { questions, wait } = asking([A]);
    const again: { result: string }[] = [];
    for (const name of [A, B])
      questions.wait([name], () => void again.push(wait(name)));
    questions.fail({ kind: "refused", detail: "it is too large" });
    t.same(again, [{ result: "refused" }, { result: "refused" }]);
    t.equal(questions.waiting, 0, "none waits for what is forgotten");
    t.end();
  },
);

void t.test("what is declared waits again for another control plane", (t) => {
  const { questions, wait, answer } = asking([A]);
  questions.fail({ kind: "gone", detail: "away" });
  const again = wait(A);
  t.same(again, { result: "waits" });
  answer({ [A]: [] });
  t.same(again, { result: "known" });
  t.end();
});

void t.test(
  "what is declared is asked by itself, and never given back",
  (t) => {
    const { clock, questions, dropped, wait, answer } = asking([A]);
    t.same(questions.names, [A]);
    clock.advance(RESOLVE_WITHIN);
    questions.fail({ kind: "gone", detail: "" });
    t.same(wait(A), { result: "waits" }, "another stream asks again");
    for (let minute = 0; minute < 100; minute += 1) questions.tick(60);
    answer({ [A]: ["shop/a"] });
    for (let minute = 0; minute < 100; minute += 1) questions.tick(60);
    t.same(dropped, []);
    t.ok(questions.leadTo("shop/a"));
    t.notOk(questions.leadTo("shop/b"));
    t.end();
  },
);

void t.test("an answer that is taken away has to come again", (t) => {
  const { questions, wait, answer } = asking();
  wait(A);
  answer({ [A]: [] });
  answer({});
  t.notOk(questions.knows(A));
  const again = wait(A);
  t.same(again, { result: "waits" });
  answer({ [A]: ["shop/a"] });
  t.same(again, { result: "known" });
  t.end();
});

void t.test(
  "a question that was given back a moment ago has its answer still",
  (t) => {
    const { questions, asked, wait, answer } = asking();
    wait(A);
    answer({ [A]: [] });
    for (let minute = 0; minute < 60; minute += 1) questions.tick(60);
    t.notOk(questions.knows(A));
    t.same(wait(A), { result: "known" }, "no push would bring it");
    t.same(asked, [A, A]);
    t.end();
  },
);

void t.test("answers of an earlier process are answers", (t) => {
  const { questions, asked, wait } = asking([B]);
  questions.restore(
    new Map([
      [A, { services: [] }],
      [B, { services: ["shop/b"] }],
    ]),
  );
  t.same(wait(A, B), { result: "known" });
  t.same(asked, []);
  t.same(questions.names.sort(), [A, B]);
  t.end();
});

void t.test("law 18: an answer that leads to what is not held is none", (t) => {
  const { questions, wait, answer } = asking();
  const waiting = wait(A);
  answer({ [A]: ["shop/a", "shop/unread"] });
  t.same(waiting, { result: "known" }, "the caller looks again");
  t.notOk(questions.knows(A));
  t.same(wait(A), { result: "refused" });
  answer({ [A]: ["shop/a"] });
  t.ok(questions.knows(A));
  t.same(wait(A), { result: "known" });
  t.end();
});

void t.test("a scan fills nothing: questions without an answer", (t) => {
  const { asked, wait } = asking();
  for (let index = 0; index < MOST_OPEN; index += 1)
    t.same(wait(`Host//a${index}`), { result: "waits" });
  t.same(wait("Host//more"), { result: "busy" });
  t.equal(asked.length, MOST_OPEN);
  t.same(wait("Host//a0"), { result: "waits" }, "what is asked is asked");
  t.end();
});

void t.test("a scan fills nothing: requests that wait", (t) => {
  const { wait, answer } = asking();
  const waiting = Array.from({ length: MOST_WAITING }, () => wait(A));
  t.same(wait(A), { result: "busy" });
  answer({ [A]: [] });
  t.ok(waiting.every(({ result }) => result === "known"));
  t.same(wait(B), { result: "waits" }, "there is room again");
  t.end();
});

void t.test("a scan fills nothing: new questions a second", (t) => {
  const { clock, wait, answer, asked } = asking();
  const answers: Record<string, readonly string[]> = {};
  const scan = (): string => {
    const name = `Host//a${asked.length}`;
    const { result } = wait(name);
    answers[name] = [];
    answer(answers);
    return result;
  };
  for (let index = 0; index < NEW_QUESTIONS.burst; index += 1) scan();
  t.equal(asked.length, NEW_QUESTIONS.burst);
  t.equal(scan(), "busy");
  clock.advance(1000);
  for (let index = 0; index < 2 * NEW_QUESTIONS.rate; index += 1) scan();
  t.equal(asked.length, NEW_QUESTIONS.burst + NEW_QUESTIONS.rate);
  t.end();
});

void t.test("a scan fills nothing: answers", (t) => {
  const { clock, questions, dropped, wait } = asking(["Host//d"]);
  const old = Array.from(
    { length: MOST_QUESTIONS - 2 },
    (_none, index) => `Host//a${index}`,
  );
  questions.restore(
    new Map(["Host//d", A, ...old].map((name) => [name, { services: [] }])),
  );
  questions.tick(60);
  t.ok(questions.knows(A), "it is of use");
  for (let index = 0; index < 100; index += 1) {
    clock.advance(10);
    wait(`Host//new${index}`);
  }
  t.equal(questions.names.length, MOST_QUESTIONS);
  t.same(dropped, old.slice(0, 100), "those of no use for longest went");
  t.ok(questions.knows(A));
  t.ok(questions.knows("Host//d"));
  t.end();
});

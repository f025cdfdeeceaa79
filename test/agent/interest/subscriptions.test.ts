import t from "tap";
import {
  PendingSubscriptions,
  type Subscriptions,
} from "../../../src/agent/interest/subscriptions.ts";

void t.test("the changes of one turn go out in one message", async (t) => {
  const pending = new PendingSubscriptions();
  const sent: Subscriptions[] = [];
  pending.subscribe("before");
  pending.attach((change) => sent.push(change));
  pending.subscribe("a");
  pending.subscribe("b");
  pending.subscribe("a");
  pending.unsubscribe("c");
  pending.unsubscribe("d");
  pending.subscribe("d");
  t.same(sent, []);
  await Promise.resolve();
  t.same(sent, [{ subscribe: ["a", "b", "d"], unsubscribe: ["c"] }]);
  pending.unsubscribe("a");
  await Promise.resolve();
  t.same(sent.slice(1), [{ subscribe: [], unsubscribe: ["a"] }]);
});

void t.test("what a stream did not take is said by the next one", async (t) => {
  const pending = new PendingSubscriptions();
  const sent: Subscriptions[] = [];
  pending.attach((change) => sent.push(change));
  pending.subscribe("a");
  pending.attach(undefined);
  pending.subscribe("b");
  pending.attach((change) => sent.push(change));
  await Promise.resolve();
  t.same(sent, []);
  pending.subscribe("c");
  await Promise.resolve();
  t.same(sent, [{ subscribe: ["c"], unsubscribe: [] }]);
});

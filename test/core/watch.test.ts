import t from "tap";
import { waitFor, watchSource } from "../../src/core/watch.ts";

void t.test(
  "subscribers see each later change, in order, until they leave",
  (t) => {
    const watch = watchSource(1);
    const seen: number[] = [];
    const leave = watch.subscribe((value) => void seen.push(value));
    watch.set(2);
    watch.set(2);
    watch.set(3);
    leave();
    watch.set(4);
    t.same(seen, [2, 3]);
    t.equal(watch.value, 4);
    t.end();
  },
);

void t.test(
  "a subscriber may leave while it is being told, and one function may subscribe twice",
  (t) => {
    const watch = watchSource(0);
    let calls = 0;
    const count = (): void => void (calls += 1);
    const leaveFirst = watch.subscribe(count);
    watch.subscribe(count);
    watch.subscribe(() => leaveFirst());
    watch.set(1);
    watch.set(2);
    t.equal(calls, 3);
    t.end();
  },
);

void t.test(
  "waitFor takes the present value, a later one, or the abort",
  async (t) => {
    const watch = watchSource(1);
    const controller = new AbortController();
    t.equal(await waitFor(watch, (value) => value === 1, controller.signal), 1);
    const later = waitFor(watch, (value) => value === 3, controller.signal);
    watch.set(2);
    watch.set(3);
    t.equal(await later, 3);
    const never = waitFor(watch, (value) => value === 9, controller.signal);
    controller.abort(new Error("stopped"));
    await t.rejects(never, { message: "stopped" });
    await t.rejects(
      waitFor(watch, () => true, controller.signal),
      { message: "stopped" },
    );
  },
);

/** A list is judged as a whole, and again where another writer was faster. */
import t from "tap";
import {
  apply,
  BROKEN,
  outcomes,
  route,
  service,
  told,
  workload,
} from "../../../support/control-plane/apply.ts";
import { fields, rig, type Rig } from "../../../support/control-plane/api.ts";

void t.test("a list is judged as a whole", async (t) => {
  const world = await rig(t);
  const fine = await apply(world, [
    route("shop", "shop/orders"),
    service("shop/orders"),
  ]);
  t.equal(fine.code, 200);
  t.same(told(fine, "warnings"), [], "the Service comes after its route");
  const early = await apply(world, [
    service("a/x"),
    route("a", "shop/none"),
    route("b", "shop/orders"),
  ]);
  t.equal(early.code, 200);
  t.match(told(early, "warnings"), [
    /^items\[1\]\.spec\.parentRefs\[0\]\.name: there is no Service shop\/none yet/,
    /^items\[1\]\.spec\.rules\[0\]\.backendRefs\[0\]\.name: /,
  ]);
});

void t.test(
  "what relies on a refused namespace is judged without it",
  async (t) => {
    const world = await rig(t);
    await apply(world, [service("bad/web")]);
    const ports = { ports: [{ port: 81 }] };
    const answer = await apply(world, [
      route("one", "bad/web", 81),
      service("bad/web", {}, ports),
      BROKEN,
      service("bad/new"),
      route("two", "bad/new"),
      service("three/x"),
    ]);
    t.equal(answer.code, 207);
    t.same(outcomes(answer), [
      "refused one/r",
      "skipped bad/web",
      "refused bad/broken",
      "skipped bad/new",
      "created two/r",
      "created three/x",
    ]);
    t.match(told(answer, "causes"), [
      /^items\[0\]\.spec\.rules\[0\]\.backendRefs\[0\]\.port: Service bad\/web has no port 81/,
      /^items\[2\]\.spec\.colour: /,
    ]);
    t.match(told(answer, "warnings"), [
      /^items\[4\].*no Service bad\/new yet/,
      /./,
    ]);
  },
);

void t.test(
  "a chain of namespaces that rely on refused ones ends in a refusal of the rest",
  async (t) => {
    const world = await rig(t);
    const names = Array.from({ length: 12 }, (_, count) => `n${count}`);
    await apply(
      world,
      names.map((name) => service(`${name}/web`)),
    );
    // Each relies on the port that the one before it gets in this list.
    const links = names.flatMap((name, index) => [
      service(`${name}/web`, {}, { ports: [{ port: 81 }] }),
      ...(index === 0 ? [] : [route(name, `n${index - 1}/web`, 81)]),
    ]);
    const whole = await apply(world, links, "?dryRun=All");
    t.equal(whole.code, 200);
    const answer = await apply(world, [
      ...links,
      service("n0/broken", {}, { colour: "blue" }),
      service("apart/x"),
    ]);
    t.equal(answer.code, 422);
    // One namespace goes in each of eight rounds, and then the rest at once.
    t.equal(fields(answer).length, 17);
    t.match(
      answer.text,
      /too many namespaces of the list depend on refused ones/,
    );
  },
);

/** Lets something happen after each judgement and before the write that follows from it. */
function meanwhile(
  { options }: Rig,
  happen: (time: number) => Promise<unknown>,
): void {
  const { checkInPlace } = options;
  let time = 0;
  Object.assign(options, {
    checkInPlace: async (...given: Parameters<typeof checkInPlace>) => {
      const found = await checkInPlace(...given);
      time += 1;
      await happen(time);
      return found;
    },
  });
}

const stored = (place: string, app: string) =>
  service(place, {}, { selector: { app } }) as never;

void t.test("a list that meets a faster writer is judged again", async (t) => {
  const world = await rig(t);
  const { store } = world;
  await apply(world, [service("shop/a")]);
  meanwhile(world, async (time) => {
    if (time <= 3) await store.put(stored("shop/a", `x${time}`), undefined);
  });
  const answer = await apply(world, [service("shop/a"), service("else/a")]);
  t.equal(answer.code, 200);
  t.same(
    outcomes(answer),
    ["configured shop/a", "created else/a"],
    "compared with what the other wrote",
  );
  const kept = await store.get({
    kind: "Service",
    namespace: "shop",
    name: "a",
  });
  t.match(kept?.spec, { selector: { app: "a" } });
});

void t.test(
  "a right that hangs on what is there holds for what is there at the write",
  async (t) => {
    const world = await rig(t);
    const { store } = world;
    const editor = await world.as("editor", ["shop"]);
    await apply(world, [workload("shop/w", "10.0.0.1")]);
    meanwhile(world, async (time) => {
      if (time === 1)
        await store.put(workload("shop/w", "10.0.0.2") as never, undefined);
    });
    const answer = await apply(
      world,
      [workload("shop/w", "10.0.0.1")],
      "",
      editor,
    );
    t.equal(answer.code, 403, "the address is no longer its own");
  },
);

void t.test("a list that never gets its turn is a conflict", async (t) => {
  const world = await rig(t);
  let times = 0;
  meanwhile(world, async (time) => {
    times = time;
    await world.store.put(stored("shop/a", `x${time}`), undefined);
  });
  const answer = await apply(world, [service("shop/a"), service("else/a")]);
  t.equal(answer.code, 409);
  t.equal(times, 8);
  t.same(
    (await world.store.list("Service", "else")).resources,
    [],
    "nor is what nobody else wrote",
  );
});

// What the command line of the benchmark chooses.
import { availableParallelism } from "node:os";
import t from "tap";
import { coresOf } from "../../bench/contest.ts";
import { readOptions } from "../../bench/options.ts";
import { nameOf } from "../../bench/scenario.ts";
import { choose, listing, SCENARIOS } from "../../bench/scenarios.ts";
import { UserError } from "../../src/core/errors.ts";

void t.test("each scenario can be named, and names nothing else", (t) => {
  for (const { name } of SCENARIOS)
    t.same(
      choose([name]).map((chosen) => chosen.name),
      [name],
    );
  t.end();
});

void t.test("families and names add up; nothing twice", (t) => {
  const names = choose(["hop", "get", "growth"]).map(({ name }) => name);
  t.equal(new Set(names).size, names.length);
  t.ok(names.includes("growth"));
  t.equal(names.filter((name) => name === "get").length, 1);
  t.end();
});

void t.test("without names, what takes long is left out", (t) => {
  const names = choose([]).map(({ name }) => name);
  t.notOk(names.includes("growth"));
  t.ok(names.includes("get"));
  t.ok(names.includes("memory"));
  t.end();
});

void t.test(
  "an unknown name is refused with the way to the known ones",
  (t) => {
    t.throws(() => choose(["hopp"]), { message: /"hopp".*--list/ });
    t.end();
  },
);

void t.test("the list has every scenario", (t) => {
  for (const { name } of SCENARIOS) t.ok(listing().includes(`  ${name} `));
  t.end();
});

void t.test(
  "a scenario's reference is among its contenders, and no two have one name",
  (t) => {
    for (const { contenders, reference, goals } of SCENARIOS) {
      const names = contenders.map(nameOf);
      t.equal(new Set(names).size, names.length);
      t.ok(names.includes(reference));
      for (const goal of goals)
        t.ok(names.includes(goal.contender ?? "Wherry"));
    }
    t.end();
  },
);

void t.test(
  "whoever is to have all cores is told so: what is not told has those of the benchmark itself, which goes to where the load is",
  (t) => {
    const all = `0-${availableParallelism() - 1}`;
    t.same(
      coresOf({ cores: "shared" }, { pinned: true }),
      availableParallelism() > 1
        ? { proxies: all, load: all }
        : { proxies: undefined, load: undefined },
    );
    t.same(coresOf({ cores: "shared" }, { pinned: false }), {
      proxies: undefined,
      load: undefined,
    });
    t.end();
  },
);

for (const argv of [
  ["--runs", "0"],
  ["--seconds", "soon"],
  ["--peers", "Wherry,Linkerd"],
  ["--loud"],
])
  void t.test(`${argv.join(" ")} is refused`, (t) => {
    t.throws(() => readOptions(argv), UserError);
    t.end();
  });

void t.test("peers are known whatever the case", (t) => {
  t.match(readOptions(["get", "--only", "h2", "--peers", "wherry, ENVOY"]), {
    kind: "run",
    options: { names: ["get", "h2"], peers: ["Wherry", "Envoy"] },
  });
  t.end();
});

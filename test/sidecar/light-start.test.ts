/** What a sidecar loads to start: packages that only some of its work needs come with that work, for each is resident in every sidecar. */
import t from "tap";
import { packagesLoadedWith } from "../support/repository/imports.ts";

/** What makes certificates, and what sends spans. */
const LATE = /^(?:node-forge|@opentelemetry\/|undici$)/;
/** What talks to a control plane. */
const PUSH = /^(?:@grpc\/|protobufjs)/;

const WITHOUT_CONTROL_PLANE = [
  "cli/commands/sidecar.ts",
  "sidecar/workers/thread.ts",
  "agent/files/file-agent.ts",
];

for (const file of [...WITHOUT_CONTROL_PLANE, "agent/mesh-agent.ts"])
  void t.test(`${file} loads nothing that it may not need for hours`, (t) => {
    const packages = packagesLoadedWith(file);
    t.ok(packages.size > 3, "the imports are read");
    for (const [name, way] of packages)
      t.notMatch(name, LATE, `${name} by ${way.join(" → ")}`);
    t.end();
  });

for (const file of WITHOUT_CONTROL_PLANE)
  void t.test(
    `${file} loads nothing that a control plane alone is asked by`,
    (t) => {
      for (const [name, way] of packagesLoadedWith(file))
        t.notMatch(name, PUSH, `${name} by ${way.join(" → ")}`);
      t.end();
    },
  );

void t.test("the reading of imports finds what is loaded", (t) => {
  const found = (file: string): string[] => [
    ...packagesLoadedWith(file).keys(),
  ];
  t.ok(found("agent/mesh-agent.ts").includes("@grpc/grpc-js"));
  t.ok(found("identity/x509.ts").includes("node-forge"));
  t.end();
});

// The Kubernetes manifests say nothing that this version does not do: options, ports, pages, users, secrets, and who may do what.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { wordsOf } from "../../src/cli/examples.ts";
import { durationOf } from "../../src/core/duration.ts";
import { secretFault } from "../../src/core/secret-file.ts";
import { DEFAULT_PORTS } from "../../src/proxy/downstream/ports.ts";
import { formatFinding, lintTexts } from "../../src/resources/lint.ts";
import { packageVersion } from "../../src/runtime/package.ts";
import { leavesOf, referenceProgram } from "../../src/tools/docs/cli.ts";
import { RUNTIME, STATE, TOKENS, USER } from "../../src/tools/image/config.ts";
import { startLoneSidecar } from "../support/processes/lone-sidecar.ts";
import {
  containerIn,
  containersOf,
  MESH_FILE,
  OBJECTS,
  objectsOf,
  PODS,
  type Container,
  type Pod,
} from "../support/repository/manifests.ts";
import { blocksOf, readPage } from "../support/repository/pages.ts";

const CONTAINERS = PODS.flatMap((pod) =>
  containersOf(pod).map((container) => ({
    ...{ pod, container },
    at: `${pod.name}/${container.name}`,
  })),
);
const WITH_SIDECAR = PODS.filter(
  ({ spec }) => spec.initContainers !== undefined,
);
const leaves = leavesOf(await referenceProgram());
const valueOf = ({ env = [] }: Container, variable: string): string =>
  env.find(({ name }) => name === variable)?.value ?? "";
const defaultOf = (command: string, long: string): string =>
  String(
    leaves
      .find((leaf) => wordsOf(leaf) === command)
      ?.options.find((each) => each.long === long)?.defaultValue,
  );

void t.test(
  "image, commands, options and variables are this version's",
  (t) => {
    for (const { at, container } of CONTAINERS) {
      t.equal(container.image, `wherry:${packageVersion()}`, at);
      if (container.command !== undefined) {
        t.equal(container.command[0], RUNTIME.Entrypoint[0], at);
        continue;
      }
      const [word = "", ...options] = container.args ?? [];
      const known = leaves.find((leaf) => wordsOf(leaf) === word);
      // The demo's applications are not in the reference.
      if (word === "demo-application") continue;
      t.ok(known, `${at}: ${word}`);
      for (const option of options.filter((each) => each.startsWith("-")))
        t.ok(
          known?.options.some(({ long }) => long === option.split("=")[0]),
          `${at}: ${option}`,
        );
      for (const { name } of container.env ?? [])
        if (name.startsWith("WHERRY_"))
          t.ok(
            known?.options.some(({ envVar }) => envVar === name),
            `${at}: ${name}`,
          );
    }
    t.end();
  },
);

void t.test("a sidecar is native, and the packet rules are set before", (t) => {
  t.equal(WITH_SIDECAR.length, 2);
  for (const { name, spec } of WITH_SIDECAR) {
    t.strictSame(
      spec.initContainers?.map(({ name, restartPolicy }) => [
        name,
        restartPolicy,
      ]),
      [
        ["intercept", undefined],
        ["sidecar", "Always"],
      ],
      name,
    );
    const sidecar = spec.initContainers?.[1];
    t.ok(
      (spec.terminationGracePeriodSeconds ?? 30) * 1000 >
        durationOf(valueOf(sidecar as Container, "WHERRY_DRAIN_TIMEOUT")),
      `${name}: the drain ends before the grace period`,
    );
  }
  t.end();
});

void t.test("ports and pages are the sidecar's", (t) => {
  const link = DEFAULT_PORTS.link;
  const push = Number(defaultOf("control-plane", "--push").split(":").pop());
  const ports = (container: Container): unknown =>
    container.ports?.map(({ name, containerPort }) => [name, containerPort]);
  for (const pod of WITH_SIDECAR) {
    const sidecar = containerIn(pod, "sidecar");
    t.strictSame(ports(sidecar), [
      ["link", link],
      ["metrics", DEFAULT_PORTS.metrics],
    ]);
    t.match(sidecar, {
      startupProbe: { httpGet: { path: "/readyz", port: "metrics" } },
      livenessProbe: { httpGet: { path: "/livez", port: "metrics" } },
    });
  }
  const [control] = PODS.filter(({ name }) => name === "control-plane");
  t.strictSame(control && ports(containerIn(control, "control-plane")), [
    ["push", push],
  ]);
  t.match(objectsOf("Service")[0]?.spec, {
    selector: control?.labels,
    ports: [{ port: push, targetPort: "push" }],
  });
  // Where sidecars look for it is that Service, and what tokens carry is the same.
  const host = `control-plane.wherry.svc:${push}`;
  for (const pod of WITH_SIDECAR)
    t.equal(valueOf(containerIn(pod, "sidecar"), "WHERRY_CONTROL_PLANE"), host);
  t.ok(
    control &&
      containerIn(control, "control-plane").args?.includes(
        `--advertise=${host}`,
      ),
  );
  const policies = objectsOf("NetworkPolicy").map(({ spec }) =>
    [...JSON.stringify(spec).matchAll(/"port":(\d+)/g)].map(([, port]) =>
      Number(port),
    ),
  );
  t.strictSame(policies, [[push], [link, link, push, 53, 53]]);
  t.end();
});

void t.test("probes and hook work at a real sidecar", async (t) => {
  const lone = await startLoneSidecar((_request, response) => response.end());
  t.teardown(() => lone.stop());
  const ask = async (path: string): Promise<number> => {
    const response = await fetch(`http://127.0.0.1:${lone.metrics}${path}`);
    return response.status;
  };
  const sidecars = WITH_SIDECAR.map((pod) => containerIn(pod, "sidecar"));
  const probes = sidecars
    .flatMap((each) => [
      each.startupProbe,
      each.readinessProbe,
      each.livenessProbe,
    ])
    .filter((probe) => probe !== undefined);
  t.equal(probes.length, 5);
  for (const { httpGet } of probes) {
    const path = httpGet?.path ?? "";
    t.equal(await ask(path), 200, path);
  }
  const hooks = sidecars.flatMap(({ lifecycle }) =>
    lifecycle === undefined ? [] : [lifecycle.preStop.exec.command],
  );
  t.equal(hooks.length, 1);
  const own = `:${DEFAULT_PORTS.admin}/`;
  for (const [program, ...rest] of hooks) {
    t.equal(program, RUNTIME.Entrypoint[0]);
    t.match(rest.at(-1), own);
    const args = rest.map((each) => each.replace(own, `:${lone.admin}/`));
    const run = (state: string): Promise<unknown> =>
      promisify(execFile)(process.execPath, args, {
        env: { WHERRY_STATE: join(lone.directory, state) },
      });
    await t.rejects(run("elsewhere"), /sidecar-admin\.token/);
    t.equal(await ask("/readyz"), 200);
    await run("state");
    t.equal(await ask("/readyz"), 503, "it drains");
    t.equal(await ask("/livez"), 200);
  }
});

void t.test("a container has no right that it does not use", (t) => {
  for (const { at, pod, container } of CONTAINERS) {
    const own = { ...pod.spec.securityContext, ...container.securityContext };
    const sets = container.name === "intercept";
    t.match(
      own,
      {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        seccompProfile: { type: "RuntimeDefault" },
        runAsNonRoot: !sets,
      },
      at,
    );
    t.strictSame(
      own.capabilities,
      sets ? { drop: ["ALL"], add: ["NET_ADMIN"] } : { drop: ["ALL"] },
      at,
    );
    const user = own.runAsUser;
    if (sets) t.equal(user, 0, at);
    else if (["sidecar", "control-plane"].includes(container.name))
      t.equal(user, USER, at);
    // Its traffic would not be captured.
    else t.not(user, USER, at);
    t.ok(container.resources?.requests?.["memory"], at);
    t.ok(container.resources?.limits?.["memory"], at);
  }
  t.equal(defaultOf("intercept", "--proxy-uid"), String(USER));
  t.equal(
    objectsOf("Namespace")[0]?.metadata.labels?.[
      "pod-security.kubernetes.io/enforce"
    ],
    "restricted",
  );
  t.end();
});

void t.test("nothing of it may ask the Kubernetes API", (t) => {
  t.notOk(OBJECTS.some(({ kind }) => /Role/.test(kind)));
  for (const { name, namespace, spec } of PODS) {
    t.equal(spec.automountServiceAccountToken, false, name);
    t.equal(spec.enableServiceLinks, false, name);
    const account = objectsOf("ServiceAccount").find(
      ({ metadata }) =>
        metadata.name === spec.serviceAccountName &&
        metadata.namespace === namespace,
    );
    t.match(account, { automountServiceAccountToken: false }, name);
  }
  t.end();
});

void t.test("state and token are where the programs look, and closed", (t) => {
  for (const { at, container } of CONTAINERS) {
    const state = valueOf(container, "WHERRY_STATE");
    if (state !== "") t.match(state, new RegExp(`^/${STATE}/`), at);
  }
  for (const pod of WITH_SIDECAR) {
    const sidecar = containerIn(pod, "sidecar");
    t.equal(valueOf(sidecar, "WHERRY_TOKEN_FILE"), `/${TOKENS}/token`);
    t.match(sidecar.volumeMounts, [
      { name: "state", mountPath: `/${STATE}` },
      { name: "token", mountPath: `/${TOKENS}`, readOnly: true },
    ]);
    const token = pod.spec.volumes.find(({ name }) => name === "token");
    const mode = token?.secret?.defaultMode ?? 0o644;
    const facts = { mode, uid: 0, size: 1, isFile: () => true };
    t.equal(secretFault(facts, "token", "the token", USER), undefined);
    t.ok(mode & 0o040, "its group may read it");
    t.equal(
      pod.spec.securityContext?.fsGroup,
      sidecar.securityContext?.runAsGroup,
    );
    for (const container of pod.spec.containers)
      t.equal(container.volumeMounts, undefined, "the application has neither");
  }
  t.end();
});

void t.test("the mesh's resources are of these workloads", (t) => {
  const text = readFileSync(MESH_FILE, "utf8");
  const { resources, findings } = lintTexts([{ file: "mesh.yaml", text }]);
  t.strictSame(findings.map(formatFinding), []);
  const [catalog, buyer] = ["catalog", "buyer"].map((name) =>
    PODS.find((pod): pod is Pod => pod.name === name),
  );
  const spec = JSON.stringify(resources.map(({ resource }) => resource.spec));
  t.match(spec, JSON.stringify({ selector: catalog?.labels }).slice(1, -1));
  t.match(
    spec,
    `cluster.local/ns/${buyer?.namespace ?? ""}/sa/${buyer?.spec.serviceAccountName ?? ""}`,
  );
  const service = objectsOf("Service").find(
    ({ metadata }) => metadata.name === "catalog",
  );
  t.match(service?.spec, {
    clusterIP: "None",
    selector: catalog?.labels,
    ports: [{ port: 8080 }],
  });
  t.match(spec, `"port":8080`);
  t.ok(catalog?.spec.containers[0]?.args?.includes("--port=8080"));
  t.end();
});

void t.test("the guide's commands are this version's", async (t) => {
  const program = await referenceProgram();
  const inside = leavesOf(program);
  for (const leaf of inside) leaf.action(() => undefined);
  const page = "config/guide/kubernetes.md";
  const [node = "", script = ""] = RUNTIME.Entrypoint;
  const within = `${node.split("/").pop() ?? ""} ${script} `;
  const lines = blocksOf(readPage(page))
    .flatMap(({ text }) => text.replaceAll("\\\n", " ").split("\n"))
    .filter((line) => line.includes(" -- "));
  t.ok(lines.length >= 3);
  for (const line of lines) {
    const [, words = ""] = line.split(` -- ${within}`);
    t.not(words, "", line);
    const [own = ""] = words.split(/ [|<] /);
    await t.resolves(
      program.parseAsync(own.trim().split(/\s+/), { from: "user" }),
      own,
    );
  }
  for (const [, kind = "", name = ""] of lines
    .join("\n")
    .matchAll(/exec (?:-i )?-n wherry (\w+)\/([\w-]+)/g))
    t.ok(
      OBJECTS.some(
        (each) =>
          each.kind.toLowerCase() === kind && each.metadata.name === name,
      ),
      `${kind}/${name}`,
    );
  for (const { spec } of WITH_SIDECAR)
    for (const { secret } of spec.volumes)
      if (secret !== undefined)
        t.match(readPage(page), `generic ${secret.secretName} `);
  t.end();
});

// The Compose file says nothing that this version does not do: options, accounts, and who shares what.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import { makeProgram } from "../../src/cli/run.ts";
import { bootstrapAccountOf } from "../../src/control-plane/enrolment/bootstrap-tokens.ts";
import { formatFinding, lintTexts } from "../../src/resources/lint.ts";
import type { CliContext } from "../../src/cli/context.ts";

interface Service {
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly network_mode?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly volumes?: readonly string[];
}

const FOLDER = join(import.meta.dirname, "..", "..", "config", "compose");
const file = parse(readFileSync(join(FOLDER, "compose.yaml"), "utf8"), {
  merge: true,
  maxAliasCount: -1,
}) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, { readonly driver?: string }>>;
};
const services = Object.entries(file.services);
const sidecars = services.filter(([name]) => name.endsWith("-sidecar"));

void t.test("commands and options are this version's", async (t) => {
  for (const [name, { command = [], environment = {} }] of services) {
    const [word, ...options] = command;
    if (word === undefined) continue;
    const program = await makeProgram({} as CliContext, word);
    const known = program.commands.find((each) => each.name() === word);
    t.ok(known, `${name}: ${word}`);
    for (const option of options.filter((each) => each.startsWith("-"))) {
      const [flag] = option.split("=");
      t.ok(
        known?.options.some(({ long }) => long === flag),
        `${name}: ${flag ?? ""}`,
      );
    }
    for (const variable of Object.keys(environment))
      if (variable.startsWith("WHERRY_"))
        t.ok(
          known?.options.some(({ envVar }) => envVar === variable),
          `${name}: ${variable}`,
        );
  }
});

void t.test("each application shares its sidecar's network", (t) => {
  t.equal(sidecars.length, 8);
  for (const [name, { network_mode: network }] of sidecars) {
    const instance = name.replace(/-sidecar$/, "");
    t.equal(network, `service:${instance}-host`);
    t.equal(file.services[instance]?.network_mode, network);
    t.ok(file.services[`${instance}-host`]);
  }
  t.end();
});

void t.test("each sidecar has its own account's token alone", (t) => {
  const plane = file.services["control-plane"];
  const accounts = (plane?.command ?? [])
    .filter((text) => text.startsWith("--bootstrap-account="))
    .map((text) => bootstrapAccountOf(text.slice(text.indexOf("=") + 1)));
  for (const { name } of accounts)
    t.ok(
      plane?.volumes?.includes(`token-${name}:/run/wherry/${name}`),
      `the token of ${name} has a volume`,
    );
  for (const [name, { volumes = [] }] of sidecars) {
    const tokens = volumes.filter((each) => each.startsWith("token-"));
    t.equal(tokens.length, 1, name);
    const [, account = ""] = /^token-(.+):\/run\/wherry:ro$/.exec(
      tokens[0] ?? "",
    ) ?? [""];
    t.ok(
      accounts.some((each) => each.name === account),
      `${name}: ${account}`,
    );
    t.match(name, new RegExp(`^${account.replace(/-v[12]$/, "")}-`));
  }
  t.end();
});

void t.test("nothing may write to its root or has a capability", (t) => {
  for (const [name, service] of services.filter(([each]) => each !== "jaeger"))
    t.match(service, { read_only: true, cap_drop: ["ALL"] }, name);
  t.end();
});

void t.test("the published port's policy is without a finding", (t) => {
  const text = readFileSync(join(FOLDER, "published.yaml"), "utf8");
  const demo = readFileSync(join(FOLDER, "..", "demo.yaml"), "utf8");
  const { findings } = lintTexts([
    { file: "demo.yaml", text: demo },
    { file: "published.yaml", text },
  ]);
  t.same(findings.map(formatFinding), []);
  t.end();
});

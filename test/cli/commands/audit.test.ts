/** `wherry audit`: what was done, for people and for programs. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { AuditEntry } from "../../../src/control-plane/audit/audit.ts";
import { withControlPlane } from "../../support/control-plane/cli.ts";

const SERVICE = (port: number, name = "web"): string => `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { selector: { app: web }, ports: [{ name: http, port: ${port} }] }
`;

void t.test("the log in a table, wide, and as JSON", async (t) => {
  const { cli } = await withControlPlane(t);
  const file = join(t.testdir(), "web.yaml");
  const apply = async (text: string): Promise<void> => {
    writeFileSync(file, text);
    const { code, err } = await cli("apply", "-f", file);
    t.equal(code, 0, err);
  };
  await apply(SERVICE(80));
  await apply(SERVICE(81));
  await cli("delete", "service", "web", "-n", "shop");
  await cli("token", "create", "--role", "viewer");
  const { code, out } = await cli("audit");
  t.equal(code, 0);
  t.match(
    out,
    /^TIME +BY +FROM +VERB +WHAT +REVISION +CHANGES\n20\S+Z +ApiToken\/\S+ +127\.0\.0\.1 +create +ApiToken \S+ +\d+\n.* delete +Service shop\/web +\d+\n.* update +Service shop\/web +\d+ +spec\.ports\[0\]\.port\n.* create +Service shop\/web +\d+\n$/,
  );
  const wide = await cli("audit", "-o", "wide", "--verb", "update");
  t.match(
    wide.out,
    /^20\S+ update Service shop\/web at revision \d+\n {2}by ApiToken\/\S+ from 127\.0\.0\.1, request \S+\n {2}spec\.ports\[0\]\.port: 80 → 81\n$/,
  );
  const json = JSON.parse(
    (await cli("audit", "-o", "json")).out,
  ) as AuditEntry[];
  t.equal(json.length, 4);
  const request = json[1]?.request ?? "";
  const rows: readonly (readonly [readonly string[], number])[] = [
    [["--kind", "svc"], 3],
    [["--kind", "ApiToken"], 1],
    [["-n", "shop", "--name", "web"], 3],
    [["-n", "infra"], 0],
    [["--request", request], 1],
    [["--by", json[0]?.by ?? ""], 4],
    [["--since", "1h"], 4],
    [["--limit", "2"], 2],
  ];
  for (const [argv, count] of rows) {
    const found = JSON.parse(
      (await cli("audit", ...argv, "-o", "json")).out,
    ) as AuditEntry[];
    t.equal(found.length, count, argv.join(" "));
  }
  t.equal(
    (await cli("audit", "-n", "infra")).out,
    "nothing was done that matches\n",
  );
  for (const [argv, message] of [
    [["--since", "soon"], /invalid --since soon: expected a duration/],
    [["--limit", "0"], /invalid --limit 0: expected a whole number/],
    [["--kind", "none"], /there is no kind "none"/],
  ] as const)
    t.match(await cli("audit", ...argv), { code: 1, err: message });
});

void t.test("more entries than one response has", async (t) => {
  const { cli } = await withControlPlane(t);
  const file = join(t.testdir(), "many.yaml");
  writeFileSync(
    file,
    Array.from({ length: 600 }, (_, index) => SERVICE(80, `s${index}`)).join(
      "---",
    ),
  );
  t.equal((await cli("apply", "-f", file)).code, 0);
  const all = JSON.parse(
    (await cli("audit", "--limit", "1000", "-o", "json")).out,
  ) as AuditEntry[];
  t.equal(new Set(all.map(({ name }) => name)).size, 600);
});

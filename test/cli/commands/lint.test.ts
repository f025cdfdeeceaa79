/** `wherry lint`: everything that can be said of files without a mesh. */
import { join } from "node:path";
import t from "tap";
import { runCli } from "../../support/control-plane/cli.ts";

const GOOD = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80 }]
  selector: { app: orders }
`;

void t.test(
  "faults come with file, line and column, and exit code 1",
  async (t) => {
    const folder = t.testdir({
      "good.yaml": GOOD,
      "unknown.yaml": GOOD.replace("selector", "selektor"),
      "type.yaml": GOOD.replace("port: 80", "port: eighty"),
      "syntax.yaml": "a: [\n",
      "kind.json": '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}',
    });
    const file = (name: string): string => join(folder, name);
    const rows: readonly (readonly [string, string, RegExp])[] = [
      ["unknown.yaml", "6:3", /spec\.selektor: .*selector/],
      ["type.yaml", "5:31", /spec\.ports\[0\]\.port: /],
      ["syntax.yaml", "2:1", /./],
      ["kind.json", "1:", /Pod/],
    ];
    for (const [name, position, message] of rows) {
      const { code, out, err } = await runCli(["lint", file(name)]);
      t.equal(code, 1, name);
      t.match(out, `error ${file(name)}:${position}`);
      t.match(out, message);
      t.match(out, /resources read: [1-9]\d* errors, \d+ warnings\n$/);
      t.equal(err, "");
    }
    const good = await runCli(["lint", file("good.yaml")]);
    t.strictSame(good, {
      code: 0,
      out: "1 resources read: 0 errors, 0 warnings\n",
      err: "",
    });
    const whole = await runCli(["lint", folder]);
    t.equal(whole.code, 1);
    for (const [name] of rows) t.match(whole.out, file(name));
  },
);

void t.test("standard input, JSON, colours", async (t) => {
  const input = GOOD.replace("selector", "selektor");
  const json = await runCli(["lint", "-", "-o", "json"], { input });
  t.equal(json.code, 1);
  t.match(JSON.parse(json.out), [
    {
      file: "<stdin>",
      line: 6,
      column: 3,
      path: "spec.selektor",
      severity: "error",
    },
  ]);
  const coloured = await runCli(["lint", "-"], { input, colours: true });
  t.match(coloured.out, /^\u001b\[31merror\u001b\[39m <stdin>:6:3: /m);
});

void t.test("a file that is not there", async (t) => {
  const { code, err } = await runCli(["lint", "nowhere.yaml"]);
  t.equal(code, 1);
  t.match(err, /^error: nowhere\.yaml: ENOENT/);
});

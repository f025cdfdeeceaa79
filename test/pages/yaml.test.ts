/** Every YAML document of README and guide is one that Wherry accepts. */
import t from "tap";
import { kindNamed } from "../../src/resources/registry.ts";
import { formatFinding, lintTexts } from "../../src/resources/lint.ts";
import { blocksOf, GUIDE, readPage } from "../support/repository/pages.ts";

const SHOP = "config/examples/tests/shop.yaml";

/** A fragment begins with "# spec of a KIND": it is put into a resource of that kind. */
function whole(text: string): string {
  const [, kind] = /^# spec of an? (\w+)\n/.exec(text) ?? [];
  if (kind === undefined) return text;
  const spec = text.replaceAll(/^(?=.)/gm, "  ");
  return `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80 }]
  selector: { app: orders }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: ${kind}
metadata: { name: orders, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: orders }]
${spec}`;
}

for (const page of GUIDE)
  for (const { language, text, line } of blocksOf(readPage(page))) {
    if (language !== "yaml") continue;
    void t.test(`${page}:${line}`, (t) => {
      // A test file that has a name is run by commands.test.ts.
      if (/^resources: .* # \w+\.yaml\n/.test(text)) t.pass("run");
      else if (text.startsWith("resources:"))
        t.ok(readPage(SHOP).includes(text), `it is in ${SHOP}`);
      else {
        const { resources, findings } = lintTexts([
          { file: page, text: whole(text) },
        ]);
        t.ok(resources.length > 0);
        t.strictSame(findings.map(formatFinding), []);
      }
      t.end();
    });
  }

void t.test("no kind that README says is refused is taken", (t) => {
  const [line = ""] =
    /^- These are refused.*$/m.exec(readPage("README.md")) ?? [];
  const refused = [...line.matchAll(/`(\w+)`/g)].map(([, kind = ""]) => kind);
  t.ok(refused.length > 0);
  t.same(
    refused.filter((kind) => kindNamed(kind) !== undefined),
    [],
  );
  t.end();
});

/** apply, get, describe and delete, against a real control plane. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import { runCli, withControlPlane } from "../support/control-plane/cli.ts";

const SERVICE = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080, appProtocol: http }]
  selector: { app: orders }
`;
const DENY = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-orders, namespace: shop, labels: { team: a } }
spec:
  selector: { matchLabels: { app: orders } }
  action: DENY
  rules: [{ to: [{ operation: { methods: [GET] } }] }]
`;
const BROKEN = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: broken, namespace: shop }
spec:
  ports: [{ name: http, port: 80 }]
  selector: { app: broken }
  colour: blue
`;

void t.test("apply, get, describe and delete", async (t) => {
  const running = await withControlPlane(t);
  const { cli } = running;
  const folder = t.testdir({
    shop: { "1-service.yaml": SERVICE, "2-deny.yaml": DENY, "notes.txt": "x" },
    "deny.yaml": DENY,
    "broken.yaml": `${SERVICE}---\n${BROKEN}`,
    empty: {},
  });
  const shop = join(folder, "shop");

  await t.test("a dry run changes nothing", async (t) => {
    const { code, out } = await cli("apply", "-f", shop, "--dry-run");
    t.equal(code, 0);
    t.equal(
      out,
      "service/orders created (dry run)\nauthorizationpolicy/no-orders created (dry run)\n",
    );
    const { err } = await cli("get", "services", "-n", "shop");
    t.equal(err, "no services in namespace shop (-A looks in all)\n");
  });

  await t.test("a fault in the last leaves the first as it was", async (t) => {
    const file = join(folder, "broken.yaml");
    const { code, out, err } = await cli("apply", "-f", file);
    t.equal(code, 1);
    t.equal(out, "");
    t.match(err, `error: ${file}:14:3: spec.colour: `);
    t.match((await cli("get", "svc", "-A")).err, "no services\n");
  });

  await t.test(
    "what only the API can know is told by file, line and column too",
    async (t) => {
      const file = join(folder, "mesh.yaml");
      writeFileSync(
        file,
        `apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec:
  trustDomain: other.example
  authorization: { defaultAction: ALLOW }
`,
      );
      const { code, err } = await cli("apply", "-f", file);
      t.equal(code, 1);
      t.match(err, `${file}:5:`);
      t.match(err, /spec\.trustDomain: /);
      t.match(err, /nothing was changed\n$/);
    },
  );

  await t.test("created, unchanged, configured", async (t) => {
    t.equal(
      (await cli("apply", "-f", shop)).out,
      "service/orders created\nauthorizationpolicy/no-orders created\n",
    );
    t.equal(
      (await cli("apply", "-f", shop)).out,
      "service/orders unchanged\nauthorizationpolicy/no-orders unchanged\n",
    );
    const changed = await runCli(["apply", "-f", "-", ...running.options], {
      input: SERVICE.replace("8080", "8081"),
    });
    t.equal(changed.out, "service/orders configured\n");
  });

  await t.test("what get -o yaml prints can be applied again", async (t) => {
    const { out } = await cli(
      "get",
      "svc",
      "orders",
      "-n",
      "shop",
      "-o",
      "yaml",
    );
    const again = await runCli(["apply", "-f", "-", ...running.options], {
      input: out,
    });
    t.equal(again.out, "service/orders unchanged\n");
  });

  await t.test("get: table, wide, name, yaml, json, selector", async (t) => {
    const plain = await cli("get", "services", "-n", "shop");
    t.match(
      plain.out,
      /^NAME {4}PORTS {4}STATUS +AGE\norders {2}80\/http {2}.*\d+s\n$/,
    );
    const everywhere = await cli("get", "Services", "-A", "-o", "wide");
    t.match(
      everywhere.out,
      /^NAMESPACE {2}NAME {4}PORTS {4}SELECTOR {4}HOSTS {2}STATUS/,
    );
    t.match(everywhere.out, /shop +orders +80\/http +app=orders /);
    t.equal(
      (await cli("get", "ap", "-n", "shop", "-o", "name")).out,
      "authorizationpolicy/no-orders\n",
    );
    t.match(parse((await cli("get", "svc", "-n", "shop", "-o", "yaml")).out), {
      kind: "Service",
      metadata: { name: "orders" },
    });
    const one = await cli("get", "svc", "orders", "-n", "shop", "-o", "json");
    t.match(JSON.parse(one.out), { metadata: { name: "orders" } });
    const list = await cli("get", "svc", "-n", "shop", "-o", "json");
    t.match(JSON.parse(list.out), {
      kind: "List",
      items: [{ kind: "Service" }],
    });
    const labelled = ["get", "ap", "-n", "shop", "-o", "name", "-l"];
    t.equal(
      (await cli(...labelled, "team=a")).out,
      "authorizationpolicy/no-orders\n",
    );
    t.equal((await cli(...labelled, "team=b")).out, "");
  });

  await t.test("describe shows facts, spec and conditions", async (t) => {
    const { out } = await cli("describe", "ap", "no-orders", "-n", "shop");
    t.match(out, /^Name: +no-orders\nNamespace: +shop\nKind: +Auth/);
    t.match(out, /Labels: +team=a\n/);
    t.match(out, /Spec:\n {2}selector:\n {4}matchLabels:\n/);
    t.match(out, /Conditions:\nTYPE +STATUS +REASON +MESSAGE\nAccepted +True/);
    t.notMatch(out, "\u001b", "no colour in a pipe");
    const coloured = await runCli(
      ["describe", "ap", "no-orders", "-n", "shop", ...running.options],
      { colours: true },
    );
    t.match(coloured.out, "\u001b[1mName:");
    t.match(coloured.out, "\u001b[32mTrue\u001b[39m");
    t.equal(coloured.out.replaceAll(/\u001b\[\d+m/g, ""), out);
  });

  await t.test("a person's slips are told in words", async (t) => {
    const rows: readonly (readonly [string[], RegExp])[] = [
      [["get", "rabbits"], /there is no kind "rabbits"; there are meshes/],
      [
        ["get", "svc", "none", "-n", "shop"],
        /none.*(does not exist|not found)/i,
      ],
      [
        ["get", "svc", "-o", "xml"],
        /Allowed choices are wide, yaml, json, name/,
      ],
      [["get", "svc", "-l", "=="], /label/i],
      [["apply"], /what is to be applied\? wherry apply -f FILE/],
      [["apply", "-f", "missing.yaml"], /missing\.yaml: ENOENT/],
      [["apply", "-f", join(folder, "empty")], /no \.yaml, .* file in this/],
      [["delete"], /what is to go\?/],
      [["delete", "svc"], /what is to go\?/],
      [["delete", "svc", "orders", "-f", shop], /not both/],
    ];
    for (const [argv, message] of rows) {
      const { code, out, err } = await cli(...argv);
      t.equal(code, 1, argv.join(" "));
      t.equal(out, "");
      t.match(err, message);
    }
  });

  await t.test(
    "delete goes in reverse, and says what was not there",
    async (t) => {
      t.equal(
        (await cli("delete", "-f", shop)).out,
        "authorizationpolicy/no-orders deleted\nservice/orders deleted\n",
      );
      const again = await cli("delete", "svc", "orders", "-n", "shop");
      t.strictSame(again, {
        code: 1,
        out: "",
        err: "service/orders is not there\n",
      });
      t.strictSame(await cli("delete", "-f", shop, "--ignore-not-found"), {
        code: 0,
        out: "",
        err: "",
      });
    },
  );
});

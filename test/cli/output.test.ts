/** What sidecars and writers of resources say reaches a terminal as text, and as nothing else. */
import t from "tap";
import { parse } from "yaml";
import { inOneLine, visible } from "../../src/cli/output.ts";
import { runCli, withServer, type Ran } from "../support/control-plane/cli.ts";

/** Clears the screen, in 7 and in 8 bits; sets a title; goes back over the line; hides what follows. */
const HOSTILE = "a\u001b[2J\u009b2J\u001b]0;x\u0007\rb\u001b[8mc\u007f";
const SHOWN =
  "a\\u001b[2J\\u009b2J\\u001b]0;x\\u0007\\u000db\\u001b[8mc\\u007f";

/** In a line of ours. */
const IN_LINE = SHOWN.replace("\\u000d", " ");

const environment = { WHERRY_TOKEN: "any" };

void t.test(
  "control characters are shown, lines and a painter's colours stay",
  (t) => {
    t.equal(visible(HOSTILE, true), SHOWN);
    t.equal(visible(HOSTILE, false), SHOWN);
    t.equal(visible("a\tb\nc é 漢", false), "a\tb\nc é 漢");
    const painted = "\u001b[31mred\u001b[39m \u001b[1mbold\u001b[22m";
    t.equal(visible(painted, true), painted);
    t.equal(
      visible("\u001b[31mred", false),
      "\\u001b[31mred",
      "where nothing is painted, others paint nothing either",
    );
    t.end();
  },
);

void t.test("what turns the order of text about is shown", (t) => {
  t.equal(
    inOneLine("a\u202eb\u2066c\u2069\u2028d\r\ne \u05d0\u200f"),
    "a\\u202eb\\u2066c\\u2069\\u2028d e \u05d0\u200f",
    "marks of right-to-left text stay",
  );
  t.end();
});

void t.test("an annotation begins no line of a description", async (t) => {
  const server = await withServer(t, (_request, response) =>
    response.end(
      JSON.stringify({
        ...{ apiVersion: "v1", kind: "Service", spec: {} },
        metadata: { name: "a", annotations: { x: "1\nKind: \u202eother" } },
      }),
    ),
  );
  const { code, out } = await runCli(
    ["describe", "service", "a", "--server", server],
    { environment },
  );
  t.equal(code, 0);
  t.match(out, /^Annotations: +x=1 Kind: \\u202eother$/m);
});

void t.test("a sidecar's words neither act nor begin a line", async (t) => {
  const line = `\nshop/good-1  connected\n${HOSTILE}`;
  const version = { store: "s", revision: 1, digest: "" };
  const report = {
    count: 1,
    resources: [{ resource: line, fields: [line], instead: "rest" }],
  };
  const bodies: Readonly<Record<string, unknown>> = {
    "/status": {
      ...{ now: 0, trustDomain: "cluster.local" },
      store: { id: "s", kind: "memory", revision: 1, accepted: false },
      sidecars: [
        {
          ...{ namespace: "shop", name: "bad-1", connected: true },
          refused: { version, reason: line, at: 0 },
          agent: { version: line, schema: 5 },
          unread: report,
        },
      ],
    },
    "/trust": {
      roots: [],
      sidecars: 1,
      rotation: {
        phase: "add",
        behind: [{ sidecar: "shop/bad-1", why: `it has refused: ${line}` }],
      },
    },
    "/apis/mesh.wherry.dev/v1alpha1/revocations": {
      items: [
        {
          metadata: { name: "r" },
          spec: { identity: "spiffe://a/ns/b/sa/c", reason: line },
        },
      ],
    },
  };
  const server = await withServer(t, (request, response) => {
    const body = bodies[request.url ?? ""];
    response.statusCode = body === undefined ? 400 : 200;
    response.end(JSON.stringify(body ?? { message: HOSTILE }));
  });
  const cli = (...argv: string[]): Promise<Ran> =>
    runCli([...argv, "--server", server], { environment, colours: true });
  for (const argv of [["status"], ["ca", "status"], ["revoke", "list"]]) {
    const { code, out } = await cli(...argv);
    const what = argv.join(" ");
    t.equal(code, 0, what);
    t.ok(out.includes(IN_LINE), what);
    t.notMatch(out, /^shop\/good-1/m, what);
    t.notMatch(
      out.replaceAll(/\u001b\[[0-9]+m/g, ""),
      /[\0-\x08\x0b-\x1f\x7f-\x9f]/,
      what,
    );
  }
  t.ok((await cli("get", "services")).err.includes(SHOWN));
});

void t.test("JSON and YAML stay what they are", async (t) => {
  const resource = {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: "a", annotations: { note: HOSTILE } },
    spec: { ports: [] },
  };
  const server = await withServer(t, (_request, response) =>
    response.end(JSON.stringify(resource)),
  );
  for (const form of ["json", "yaml"]) {
    const { out } = await runCli(
      ["get", "service", "a", "-o", form, "--server", server],
      { environment },
    );
    t.notMatch(out, /[\0-\x08\x0b-\x1f\x7f-\x9f]/, form);
    t.same(parse(out), resource, form);
  }
});

void t.test("a token goes to no other machine in plaintext", async (t) => {
  for (const server of ["http://control-plane:15080", "http://10.0.0.1/"]) {
    const { code, err } = await runCli(["status", "--server", server], {
      environment,
    });
    t.equal(code, 1);
    t.match(err, /invalid --server http:.*expected https, since the token/);
  }
});

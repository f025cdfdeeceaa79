/** What one request may cost: the API reads, checks and answers within bounds, whatever a holder of a token sends. */
import { once } from "node:events";
import { request, type ClientRequest } from "node:http";
import t from "tap";
import { MOST_BODIES_OF_TOKEN } from "../../../src/control-plane/api/bodies.ts";
import { startApi } from "../../../src/control-plane/api/server.ts";
import { fields, rig, service, SHOP } from "../../support/control-plane/api.ts";

const PATH = `${SHOP}/services/a`;
const YAML = { "content-type": "application/yaml" };

function times(count: number, text: (index: number) => string): string {
  return Array.from({ length: count }, (_, index) => text(index)).join("");
}

void t.test("YAML of more than 256 KiB is 413", async (t) => {
  const { call } = await rig(t);
  const answer = await call("PUT", PATH, "#".repeat(256 * 1024 + 1), YAML);
  t.equal(answer.code, 413);
  t.match(answer.body, { reason: "RequestEntityTooLarge" });
});

void t.test(
  "a body of more than 50,000 values is 400, also where aliases make them",
  async (t) => {
    const { call } = await rig(t);
    const ones = "1,".repeat(600);
    for (const [title, body, headers] of [
      ["JSON", `[${"0,".repeat(50_000)}0]`, {}],
      ["YAML", `[${"0,".repeat(50_000)}0]`, YAML],
      ["aliases", `a: &a [${ones}]\nb: [${"*a ,".repeat(99)}]`, YAML],
    ] as const) {
      const answer = await call("PUT", PATH, body, headers);
      t.equal(answer.code, 400, title);
      t.match(answer.body, { message: /more than 50000 values/ });
    }
  },
);

void t.test(
  "a key that stands twice among 20,000 in YAML is found without comparing each pair",
  async (t) => {
    const { call } = await rig(t);
    const keys = times(20_000, (index) => `k${index}:\n`);
    const answer = await call("PUT", PATH, `${keys}k7:\n`, YAML);
    t.equal(answer.code, 400);
    // The words are those of our own linear look: the parser's, which compares pairs, says otherwise.
    t.match(answer.body, {
      message: /not YAML at line 20001, column 1: .*"k7" is there already/,
    });
  },
);

void t.test("more than 100 aliases are refused with their place", async (t) => {
  const { call } = await rig(t);
  const body = `- &a x\n${"- *a\n".repeat(101)}`;
  const answer = await call("PUT", PATH, body, YAML);
  t.equal(answer.code, 400);
  t.match(answer.body, { message: /line 102, column 3: .*100 aliases/ });
});

void t.test(
  "of many things that are wrong with a body or query, 50 are named and the rest counted",
  async (t) => {
    const { call } = await rig(t);
    const namespaces = Array.from({ length: 40_000 }, () => 0);
    const body = { role: "viewer", namespaces };
    const answer = await call("POST", "/tokens/api", body);
    t.equal(answer.code, 422);
    t.equal(fields(answer).length, 51);
    t.match(answer.body, { message: /; and 39951 more$/ });
    t.ok(answer.text.length < 20_000, `${answer.text.length} characters`);
    const query = times(200, (index) => `&q${index}=1`);
    const listed = await call("GET", `${SHOP}/services?${query}`);
    t.equal(listed.code, 400);
    t.equal(fields(listed).length, 51);
  },
);

void t.test("patches cannot add up to more than 2 MiB", async (t) => {
  const { call } = await rig(t);
  await call("PUT", PATH, service("a"));
  const patch = (index: number): object => ({
    metadata: {
      annotations: Object.fromEntries(
        Array.from({ length: 15 }, (_, at) => [
          `k${index}-${at}`,
          "x".repeat(60_000),
        ]),
      ),
    },
  });
  t.equal((await call("PATCH", PATH, patch(0))).code, 200);
  t.equal((await call("PATCH", PATH, patch(1))).code, 200);
  const refused = await call("PATCH", PATH, patch(2));
  t.equal(refused.code, 422);
  t.match(refused.body, { message: /would have 27\d{5} bytes as JSON/ });
});

void t.test(
  "bodies that come slowly are few of one token, and keep no other waiting",
  async (t) => {
    const { as, options } = await rig(t);
    const running = await startApi(options, { host: "127.0.0.1", port: 0 });
    t.teardown(() => running.close());
    const [slow, other] = [await as("editor", ["shop"]), await as("admin")];
    const put = async (
      name: string,
      headers: Record<string, string>,
    ): Promise<number> => {
      const { status } = await fetch(`${running.url}${SHOP}/services/${name}`, {
        method: "PUT",
        headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify(service(name)),
      });
      return status;
    };
    const begun = Array.from({ length: MOST_BODIES_OF_TOKEN }, () => {
      const sent: ClientRequest = request(`${running.url}${PATH}`, {
        method: "PUT",
        headers: {
          ...slow,
          "content-type": "application/json",
          "content-length": 1000,
        },
        agent: false,
      });
      sent.on("error", () => undefined);
      sent.write("{");
      return sent;
    });
    let code = 0;
    while (code !== 503) code = await put("b", slow);
    t.equal(await put("c", other), 201);
    const [first] = begun;
    first?.end(" ".repeat(999));
    const [answer] = (await once(first ?? t, "response")) as [
      { readonly statusCode: number },
    ];
    t.equal(answer.statusCode, 400, "it is not JSON");
    while (code === 503) code = await put("b", slow);
    t.ok([200, 201].includes(code), "its place is free");
    for (const sent of begun) sent.destroy();
  },
);

/** What is wrong with a request before anything is known of a resource: bodies, types, sizes, methods, paths, queries. */
import { connect } from "node:net";
import { Readable } from "node:stream";
import t from "tap";
import { startApi } from "../../../src/control-plane/api/server.ts";
import {
  fields,
  OWN,
  rig,
  service,
  SHOP,
} from "../../support/control-plane/api.ts";

const PATH = `${SHOP}/services/a`;

void t.test("a malformed body is 400 and says where", async (t) => {
  const { call } = await rig(t);
  const yaml = { "content-type": "application/yaml" };
  for (const [title, body, headers, message] of [
    [
      "JSON",
      '{"kind": }',
      {},
      /not JSON at line 1, column 10: Unexpected token/,
    ],
    ["YAML", "a: [1\nb: 2", yaml, /not YAML at line 2, column 1: /],
    ["YAML with a key twice", "a: 1\na: 2", yaml, /line 2, column 1: .*unique/],
    ["two documents", "a: 1\n---\nb: 2", yaml, /not YAML at line .*documents/],
    [
      "aliases that multiply",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]`,
      yaml,
      /not YAML: Excessive alias count/,
    ],
    ["nothing", "", {}, /empty/],
    ["depth", "[".repeat(50_000) + "]".repeat(50_000), {}, /64 levels/],
    ["depth in YAML", `a: ${"[".repeat(9000)}`, yaml, /not YAML/],
  ] as const) {
    const answer = await call("PUT", PATH, body, headers);
    t.equal(answer.code, 400, title);
    t.match(answer.body, { kind: "Status", reason: "BadRequest", message });
  }
});

void t.test("bytes that are not UTF-8 are refused, not replaced", async (t) => {
  const { api, as } = await rig(t);
  const answer = await api.inject({
    method: "PUT",
    url: PATH,
    headers: { ...(await as("admin")), "content-type": "application/json" },
    payload: Readable.from([Buffer.from([0x22, 0xff, 0xfe, 0x22])]),
  });
  t.equal(answer.statusCode, 400);
  t.match(answer.json(), { message: /UTF-8/ });
});

void t.test(
  "a member called __proto__ is an unknown field like any other",
  async (t) => {
    const { call } = await rig(t);
    await call("PUT", PATH, service("a"));
    for (const [method, body] of [
      [
        "PUT",
        `{"__proto__": {"a": 1}, ${JSON.stringify(service("a")).slice(1)}`,
      ],
      ["PATCH", '{"__proto__": {"a": 1}}'],
      ["PATCH", '{"spec": {"__proto__": {"a": 1}}}'],
    ] as const) {
      const answer = await call(method, PATH, body);
      t.equal(answer.code, 422, `${method} ${body.slice(0, 40)}`);
      t.match(fields(answer)[0], /__proto__/);
    }
  },
);

void t.test("YAML is taken where JSON is", async (t) => {
  const { call } = await rig(t);
  const body = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: {name: a}
spec: {ports: [{port: 80}], selector: {app: a}}
`;
  for (const type of ["application/yaml", "text/yaml; charset=utf-8"])
    t.match(
      (await call("PUT", PATH, body, { "content-type": type })).body,
      { metadata: { name: "a" } },
      type,
    );
});

void t.test(
  "a body of another type is 415, one too large 413, a missing one 400",
  async (t) => {
    const { call, api, as } = await rig(t);
    for (const [method, type] of [
      ["PUT", "text/plain"],
      ["PUT", "application/xml"],
      ["PUT", "nonsense"],
      ["PUT", "application/merge-patch+json"],
      ["PATCH", "application/json-patch+json"],
      ["PATCH", "application/yaml"],
    ] as const) {
      const answer = await call(method, PATH, "{}", { "content-type": type });
      t.equal(answer.code, 415, `${method} ${type}`);
      t.match(answer.body, { reason: "UnsupportedMediaType" });
    }
    const large = await call("PUT", PATH, `"${"x".repeat(2 * 1024 * 1024)}"`);
    t.equal(large.code, 413);
    t.match(large.body, { reason: "RequestEntityTooLarge" });
    const { headers } = { headers: await as("admin") };
    const none = await api.inject({ method: "PUT", url: PATH, headers });
    t.equal(none.statusCode, 400);
    t.match(none.json(), { message: /missing/ });
  },
);

void t.test(
  "a method that a path has not is 405 with those that it has",
  async (t) => {
    const { api, as } = await rig(t);
    const headers = await as("admin");
    for (const [method, url, allow] of [
      ["POST", PATH, "DELETE, GET, HEAD, PATCH, PUT"],
      ["PUT", `${SHOP}/services`, "GET, HEAD, POST"],
      ["POST", `${OWN}/services`, "GET, HEAD"],
      ["OPTIONS", "/status", "GET, HEAD"],
      ["GET", "/tokens/api", "POST"],
      ["DELETE", "/livez", "GET, HEAD"],
    ] as const) {
      const answer = await api.inject({ method, url, headers });
      t.equal(answer.statusCode, 405, `${method} ${url}`);
      t.equal(answer.headers.allow, allow);
      t.match(answer.json(), { reason: "MethodNotAllowed" });
    }
  },
);

void t.test(
  "what is no request is answered too, and the connection closed",
  async (t) => {
    const { options, as } = await rig(t);
    const { authorization = "" } = await as("viewer");
    const running = await startApi(options, { host: "127.0.0.1", port: 0 });
    t.teardown(() => running.close());
    const answerTo = async (text: string): Promise<string> => {
      const socket = connect(Number(new URL(running.url).port), "127.0.0.1");
      socket.end(text);
      let answer = "";
      for await (const chunk of socket) answer += String(chunk);
      return answer;
    };
    t.match(
      await answerTo("GET / HTTP/1.1\r\nbad header\r\n\r\n"),
      /^HTTP\/1.1 400 /,
    );
    t.match(
      await answerTo(
        `GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(20_000)}\r\n\r\n`,
      ),
      /^HTTP\/1.1 431 [^]*"reason":"RequestHeaderFieldsTooLarge"/,
    );
    t.match(
      await answerTo(
        `QUERY /status HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization}\r\nconnection: close\r\n\r\n`,
      ),
      /^HTTP\/1.1 405 [^]*allow: GET, HEAD\r/,
      "a method that HTTP has and nothing here takes",
    );
  },
);

void t.test(
  "unknown paths, queries and impossible names are refused",
  async (t) => {
    const { call } = await rig(t);
    for (const [url, code, field] of [
      ["/apis/mesh.wherry.dev/v1alpha1/gadgets", 404, undefined],
      ["/apis/mesh.wherry.dev/v2/services", 404, undefined],
      [`${OWN}/services?labelselector=a`, 400, "labelselector"],
      [`${OWN}/services?watch=yes`, 400, "watch"],
      [`${OWN}/services?watch=1&watch=1`, 400, "watch"],
      [`${OWN}/services?watch=1&resourceVersion=-1`, 400, "resourceVersion"],
      [`${SHOP}/services/Bad_Name`, 400, "name"],
      [`${OWN}/namespaces/a.b/services`, 400, "namespace"],
      [`${SHOP}/services/%zz`, 400, undefined],
      [`${SHOP}/services/${"a".repeat(301)}`, 404, undefined],
    ] as const) {
      const answer = await call("GET", url);
      t.equal(answer.code, code, url.slice(0, 80));
      t.match(answer.body, { kind: "Status", status: "Failure" });
      if (field !== undefined) t.equal(fields(answer)[0], field);
    }
  },
);

void t.test("answers are not cached and not sniffed", async (t) => {
  const { call } = await rig(t);
  const { headers } = await call("GET", "/status");
  t.equal(headers["cache-control"], "no-store");
  t.equal(headers["x-content-type-options"], "nosniff");
});

void t.test(
  "a store that fails is 503, a defect is 500 without its details",
  async (t) => {
    const { call, store, options } = await rig(t);
    t.equal((await call("HEAD", `${SHOP}/services?watch=1`)).code, 200);
    options.push.instances = () => {
      throw new TypeError("secret detail");
    };
    const defect = await call("GET", "/status");
    t.equal(defect.code, 500);
    t.notMatch(defect.text, /secret detail/);
    t.equal((await call("GET", "/livez")).code, 200);
    await store.close();
    t.equal((await call("GET", `${SHOP}/services`)).code, 503);
  },
);

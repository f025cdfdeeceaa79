/** Filters of the access log: what can be read, and which requests each takes. */
import t from "tap";
import {
  takes,
  type LoggedRequest,
} from "../../src/policy/telemetry/filter.ts";
import {
  LONGEST_FILTER,
  parseFilter,
  type Attribute,
} from "../../src/resources/telemetry/filter.ts";

const ATTRIBUTES: Readonly<Record<Attribute, string | number | boolean>> = {
  "request.method": "GET",
  "request.host": "orders.shop",
  "request.url_path": "/v1/orders",
  "request.protocol": "HTTP/2",
  "request.size": 0,
  "request.duration": 1500,
  "response.code": 404,
  "response.size": 20,
  "connection.mtls": true,
  "connection.uri_san_peer_certificate": "spiffe://td/ns/shop/sa/web",
  "wherry.destination": "orders.shop:80",
  "wherry.reason": "NO_ROUTE",
};

const REQUEST: LoggedRequest = {
  attribute: (name) => ATTRIBUTES[name],
  header: (name) => (name === "x-tenant" ? "acme" : undefined),
};

const CASES: readonly (readonly [string, boolean])[] = [
  ["true", true],
  ["false", false],
  ["!false", true],
  ["response.code >= 400", true],
  ["response.code>=400&&response.code<500", true],
  ["response.code > 404", false],
  ["response.code < 404 || response.code <= 404", true],
  ["response.code == 404", true],
  ["response.code != 404", false],
  ["400 <= response.code", true],
  ["response.code in [500, 404]", true],
  ["response.code in [500]", false],
  ['request.method in ["GET", "HEAD"]', true],
  ["request.method == 'GET'", true],
  ['request.url_path.startsWith("/v1/")', true],
  ['request.url_path.endsWith("/v1/")', false],
  ['request.url_path.contains("order")', true],
  ['!request.url_path.contains("order")', false],
  ['request.host.endsWith(".shop") && request.protocol == "HTTP/2"', true],
  ['request.duration > duration("1s")', true],
  ['request.duration > duration("1s500ms")', false],
  ["request.size == 0 && response.size == 20", true],
  ["connection.mtls", true],
  ["connection.mtls == false", false],
  ['connection.uri_san_peer_certificate.endsWith("/sa/web")', true],
  ['wherry.reason != "" && wherry.destination == "orders.shop:80"', true],
  ['request.headers["X-Tenant"] == "acme"', true],
  ['"x-tenant" in request.headers', true],
  ['"x-other" in request.headers', false],
  ['!("x-other" in request.headers)', true],
  // What is not there is neither equal nor unequal.
  ['request.headers["x-other"] == "a"', false],
  ['request.headers["x-other"] != "a"', false],
  ['!(request.headers["x-other"] == "a")', false],
  ['request.headers["x-other"].contains("a") || true', true],
  ['true || request.headers["x-other"].contains("a")', true],
  ['request.headers["x-other"] == "a" && false', false],
  ['!(request.headers["x-other"] == "a" && false)', true],
  ['request.headers["x-other"] in ["a"] || false', false],
  ['!(request.headers["x-other"] == "a" || false)', false],
  ['!(request.headers["x-other"] == "a" && true)', false],
  // && binds closer than ||.
  ["true || false && false", true],
  ["(true || false) && false", false],
  ["false == false", true],
  [String.raw`request.method == "G\"T"`, false],
  ['request.host == "orders.shop" ', true],
];

for (const [text, expected] of CASES)
  void t.test(text, (t) => {
    const read = parseFilter(text);
    t.ok(read.ok, read.ok ? "" : read.why);
    if (read.ok) t.equal(takes(read.expression, REQUEST), expected);
    t.end();
  });

for (const [text, why] of [
  ["", /ends where a value is expected/],
  ["response.code", /has int where bool/],
  ['response.code == "404"', /has string where int/],
  ["response.code = 404", /cannot be read from "= 404"/],
  ["response.code == 4.5", /cannot be read/],
  ["response.code == 404 404", /where the end is expected/],
  ["response.flags == 1", /no attribute "response.flags"/],
  ["constructor", /no attribute/],
  ["request.path.contains('a')", /no attribute "request.path"/],
  ['request.headers["authorization"] == "x"', /credential/],
  ['"cookie" in request.headers', /credential/],
  ['request.headers["x-wherry-peer"] == "x"', /mesh's own/],
  ["response.code.contains('4')", /has int where string/],
  ["request.method.matches('G')", /no attribute/],
  ["request.headers['a'].matches('G')", /no test "matches"/],
  ["true && 1", /has int where bool/],
  ["!1", /has int where bool/],
  ["true < false", /cannot compare bool/],
  ["request.duration > 1", /has int where duration/],
  ['request.duration > duration("soon")', /expected a duration/],
  ["1 in [1, response.code]", /plain values/],
  ["1 in request", /needs a list/],
  ["1 in request.headers", /quoted name/],
  ["(true", /where "\)" is expected/],
  ["request.method == 'GET", /cannot be read/],
  ["request.headers[1] == 'a'", /quoted text/],
  [`${"(".repeat(33)}true${")".repeat(33)}`, /more than 32 deep/],
  [`${"!".repeat(40)}true`, /more than 32 deep/],
] as const)
  void t.test(`cannot be read: ${text.slice(0, 60)}`, (t) => {
    const read = parseFilter(text);
    t.match(read, { ok: false, why });
    t.end();
  });

void t.test("the longest filter costs little", (t) => {
  const half = Math.floor(LONGEST_FILTER / 8);
  const read = parseFilter(`true${" || true".repeat(half - 1)}`);
  t.ok(read.ok);
  if (read.ok) t.equal(takes(read.expression, REQUEST), true);
  t.end();
});

/** Max-Forwards of OPTIONS and TRACE (RFC 9110 7.6.2), through both sidecars to a backend that shows what arrives. */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import {
  atLastHop,
  countDown,
} from "../../../src/proxy/exchange/max-forwards.ts";
import { connectHead } from "../../../src/wire/tcp.ts";
import { makeField } from "../../../src/wire/fields.ts";
import { withPair } from "../../support/meshes/pair.ts";

type Row = readonly [
  method: string,
  values: readonly string[],
  expected: "goes on" | number,
  arrives?: string,
];

const ROWS: readonly Row[] = [
  ["OPTIONS", [], "goes on"],
  ["OPTIONS", ["0"], 204],
  ["OPTIONS", ["00"], 204],
  ["OPTIONS", ["1"], "goes on", "0"],
  ["OPTIONS", ["010"], "goes on", "9"],
  ["OPTIONS", ["4294967296"], "goes on", "999999998"],
  ["OPTIONS", ["-1"], 400],
  ["OPTIONS", ["x"], 400],
  ["OPTIONS", [""], 400],
  ["OPTIONS", ["1, 0"], 400],
  ["OPTIONS", ["1", "0"], 400],
  ["TRACE", ["0"], 501],
  ["TRACE", ["2"], "goes on", "1"],
  // 7.6.2: a recipient may ignore it in any other.
  ["GET", ["0"], "goes on", "0"],
  ["POST", ["x"], "goes on", "x"],
  ["QUERY", ["0"], "goes on", "0"],
];

const STATUS: Readonly<Record<string, number>> = {
  BAD_REQUEST: 400,
  UNSUPPORTED: 501,
};

void t.test("one hop", (t) => {
  for (const [method, values, expected, arrives] of ROWS) {
    const fields = values.map((value) => makeField("max-forwards", value));
    const head = { ...connectHead("orders.shop"), method, path: "*", fields };
    const own = atLastHop(head);
    const what = `${method} ${values.join(" and ")}`;
    t.equal(
      own === undefined
        ? "goes on"
        : own instanceof MeshError
          ? STATUS[own.code]
          : own.status,
      expected,
      what,
    );
    if (arrives === undefined) continue;
    countDown(method, fields);
    t.equal(fields[0]?.value, arrives, `${what}: what arrives`);
  }
  t.end();
});

void t.test("a chain of two: each sidecar is a hop", async (t) => {
  const seen: string[] = [];
  await withPair(
    {
      app: () => (request, response) => {
        seen.push(
          `${request.method ?? ""} ${String(request.headers["max-forwards"])}`,
        );
        response.end();
      },
    },
    async (pair) => {
      const ask = async (hops: string): Promise<number> =>
        (
          await pair.call({
            method: "OPTIONS",
            path: "/",
            headers: { "max-forwards": hops },
          })
        ).status;
      t.equal(await ask("0"), 204, "the caller's sidecar answers");
      t.equal(await ask("1"), 204, "the callee's does");
      t.strictSame(seen, []);
      t.equal(await ask("2"), 200, "the application does");
      t.strictSame(seen, ["OPTIONS 0"]);
      const { headers } = await pair.call({
        method: "OPTIONS",
        headers: { "max-forwards": "0" },
      });
      t.match(headers.allow, /^GET, HEAD, POST/);
      t.match(
        await pair.call({
          method: "TRACE",
          headers: { "max-forwards": "0" },
        }),
        { status: 501, reason: "UNSUPPORTED" },
      );
    },
  );
});

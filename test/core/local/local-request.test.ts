/** A web page of another site is told from whoever else asks a port of this machine. */
import t from "tap";
import {
  foreignness,
  type Foreign,
} from "../../../src/core/local/local-request.ts";

type Row = readonly [Record<string, string>, Foreign | undefined];
const host = "127.0.0.1:15000";

void t.test("by Host, Origin and Sec-Fetch-Site", (t) => {
  const rows: readonly Row[] = [
    [{ host }, undefined],
    [{ host: "localhost" }, undefined],
    [{ host: "LOCALHOST:15000" }, undefined],
    [{ host: "[::1]:15000" }, undefined],
    [{}, "host"],
    [{ host: "" }, "host"],
    [{ host: "rebound.example:15000" }, "host"],
    [{ host: "127.0.0.1.rebound.example" }, "host"],
    [{ host: "localhost.rebound.example" }, "host"],
    [{ host: "127.0.0.1:15000@rebound.example" }, "host"],
    [{ host: "127.0.0.2" }, "host"],
    [{ host: "0.0.0.0:15000" }, "host"],
    [{ host, origin: "http://127.0.0.1:15000" }, undefined],
    [{ host: "Localhost:1", origin: "http://localhost:1" }, undefined],
    [{ host, origin: "https://evil.example" }, "site"],
    [{ host, origin: "http://127.0.0.1:8080" }, "site"],
    [{ host, origin: "http://localhost:15000" }, "site"],
    [{ host, origin: "https://127.0.0.1:15000" }, "site"],
    [{ host, origin: "null" }, "site"],
    [{ host, origin: "" }, "site"],
    [{ host, "sec-fetch-site": "none" }, undefined],
    [{ host, "sec-fetch-site": "same-origin" }, undefined],
    [{ host, "sec-fetch-site": "same-site" }, "site"],
    [{ host, "sec-fetch-site": "cross-site" }, "site"],
    [{ host, "sec-fetch-site": "" }, "site"],
    [
      { host, "sec-fetch-site": "same-origin", origin: "http://a.example" },
      "site",
    ],
  ];
  for (const [headers, expected] of rows)
    t.equal(foreignness(headers), expected, JSON.stringify(headers));
  t.end();
});

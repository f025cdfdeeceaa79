/** An application in Node joins the mesh by two variables of its environment: fetch and node:http call through the sidecar. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import t from "tap";
import { cleanEnvironment } from "../support/processes/demo.ts";
import { withPair } from "../support/meshes/pair.ts";

const APPLICATION = `
  import { get } from "node:http";
  const answer = await fetch("http://orders.shop/fetched?q=1", { method: "POST", body: "order" });
  console.log(answer.status, await answer.text());
  get("http://orders.shop/got", (response) => {
    response.setEncoding("utf8").on("data", (text) => console.log(response.statusCode, text));
  });
  const nowhere = await fetch("http://no-such-service.shop/");
  console.log(nowhere.status, nowhere.headers.get("x-wherry-reason"));
`;

void t.test(
  "fetch and node:http go through the sidecar, with no code for it",
  async (t) => {
    await withPair(
      {
        app: () => (request, response) => {
          request.resume();
          request.on("end", () =>
            response.end(`${request.method ?? ""} ${request.url ?? ""}`),
          );
        },
      },
      async (pair) => {
        const { stdout } = await promisify(execFile)(
          process.execPath,
          ["--input-type=module", "--eval", APPLICATION],
          {
            env: {
              ...cleanEnvironment(),
              NODE_USE_ENV_PROXY: "1",
              HTTP_PROXY: `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
            },
          },
        );
        t.same(stdout.trim().split("\n").sort(), [
          "200 GET /got",
          "200 POST /fetched?q=1",
          "502 UNKNOWN_DESTINATION",
        ]);
      },
    );
  },
);

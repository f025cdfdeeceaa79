/** Headers for the application that several checks may write: what one wrote is not taken for what the caller said. */
import t from "tap";
import {
  custom,
  echoed,
  PATIENT,
  withProviders,
} from "../../support/checks/asking-pair.ts";
import { httpScript } from "../../support/checks/providers.ts";
import {
  ISSUER,
  keySetText,
  testKey,
  token,
} from "../../support/tokens/issuer.ts";
import { tokensOf } from "../../support/tokens/token-mesh.ts";

const key = await testKey("ES256", "k1");
const good = await token(key, { claims: { sub: "carol" } });

void t.test(
  "a provider that is not asked, or says nothing, spares it",
  async (t) => {
    const first = await httpScript((request, response) => {
      if (request.url !== "/token") response.setHeader("x-user", "alice");
      response.end();
    });
    const second = await httpScript((request, response) => {
      if (request.url === "/bob") response.setHeader("x-user", "bob");
      if (request.url === "/twin") response.setHeader("x_user", "bob");
      response.end();
    });
    const both = { headersToApplication: ["x-user"], ...PATIENT };
    const paths = ["/quiet", "/bob", "/twin"];
    try {
      await withProviders(
        [
          { name: "one", http: { address: first.address }, ...both },
          { name: "two", http: { address: second.address }, ...both },
        ],
        {
          resources: [
            tokensOf([
              {
                issuer: ISSUER,
                jwks: keySetText(key),
                outputClaimToHeaders: [{ header: "x-user", claim: "sub" }],
              },
            ]),
            custom("one", [{ to: [{ operation: { notPaths: ["/none"] } }] }]),
            custom("two", [{ to: [{ operation: { paths } }] }]),
          ],
        },
        async (pair) => {
          for (const [path, authorization, user, twin] of [
            ["/", "", "alice", undefined],
            ["/quiet", "", "alice", undefined],
            ["/bob", "", "bob", undefined],
            ["/twin", "", undefined, "bob"],
            ["/none", "", undefined, undefined],
            ["/token", "", undefined, undefined],
            ["/token", `Bearer ${good}`, "carol", undefined],
            ["/none", `Bearer ${good}`, "carol", undefined],
            ["/quiet", `Bearer ${good}`, "alice", undefined],
          ] as const) {
            const answer = await pair.call({
              path,
              headers: {
                ...{ "x-user": "mallory", x_user: "mallory" },
                ...(authorization === "" ? {} : { authorization }),
              },
            });
            const { headers } = echoed(answer);
            const what = `${path} ${authorization.slice(0, 6)}`;
            t.equal(headers["x-user"], user, what);
            t.equal(headers["x_user"], twin, what);
          }
        },
      );
    } finally {
      await first.close();
      await second.close();
    }
  },
);

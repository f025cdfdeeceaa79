/** Which options have an environment variable: those of processes, and of the way to the API. What a command acts on is on its command line. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import t from "tap";
import { withServer } from "../../src/cli/client.ts";
import { wordsOf } from "../../src/cli/examples.ts";
import { leavesOf, referenceProgram } from "../../src/tools/docs/cli.ts";
import { withControlPlane } from "../support/control-plane/cli.ts";

const PROCESSES: ReadonlySet<string> = new Set(
  "dev sidecar control-plane wait intercept".split(" "),
);

void t.test(
  "a command that acts once takes the way to the API alone from variables",
  async (t) => {
    const server = new Set(
      withServer(new Command("any")).options.map((each) => each.name()),
    );
    const commands = leavesOf(await referenceProgram()).filter(
      (each) => !PROCESSES.has(wordsOf(each)),
    );
    t.ok(commands.length > 15);
    t.same(
      commands.flatMap((each) =>
        each.options
          .filter(
            ({ envVar, ...option }) =>
              envVar !== undefined && !server.has(option.long?.slice(2) ?? ""),
          )
          .map(({ envVar }) => `${wordsOf(each)} ${envVar ?? ""}`),
      ),
      [],
    );
  },
);

void t.test("what a variable names is not deleted", async (t) => {
  const { cli, controlPlane } = await withControlPlane(t);
  const file = join(t.testdir(), "orders.yaml");
  writeFileSync(
    file,
    `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec: { ports: [{ port: 80 }], selector: { app: orders } }
`,
  );
  t.equal((await cli("apply", "-f", file)).code, 0);
  process.env["WHERRY_FILENAME"] = file;
  t.teardown(() => delete process.env["WHERRY_FILENAME"]);
  const { code, err } = await cli("delete");
  t.equal(code, 1);
  t.match(err, "wherry delete -f FILE");
  t.equal((await controlPlane.store.list("Service")).resources.length, 1);
});

/** Another user has taken the control plane's port while that was away: commands do not send it the administrator's token. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { runCli } from "../../../support/control-plane/cli.ts";

const NOBODY = 65_534;

/** Says its port, then each Authorization field that it is sent. */
const THIEF = `
  const server = require("node:http").createServer((request, response) => {
    console.log(request.headers.authorization);
    response.end('{"items":[]}');
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

interface Thief {
  readonly server: string;
  /** All that it has been sent. */
  readonly got: () => string;
  /** Resolves once that is so much. */
  readonly untilGot: (text: string) => Promise<void>;
}

async function startThief(t: Test): Promise<Thief> {
  const child = spawn(process.execPath, ["--eval", THIEF], {
    ...{ uid: NOBODY, gid: NOBODY },
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  const until = async (told: () => boolean): Promise<void> => {
    while (!told()) await once(child.stdout, "data");
  };
  await until(() => said.includes("\n"));
  const got = (): string => said.slice(said.indexOf("\n") + 1);
  return {
    server: `http://127.0.0.1:${said.trim()}`,
    got,
    untilGot: (text) => until(() => got() === text),
  };
}

void t.test(
  "the token of the state directory stays here; one that is named goes where it was told",
  { skip: process.geteuid?.() !== 0 && "needs root" },
  async (t) => {
    const state = mkdtempSync(join(tmpdir(), "wherry-thief-"));
    t.teardown(() => rmSync(state, { recursive: true, force: true }));
    const file = join(state, "admin.token");
    writeFileSync(file, "wat_secret\n", { mode: 0o600 });
    const { server, got, untilGot } = await startThief(t);
    const get = ["get", "services", "--server", server];
    const refused = await runCli([...get, "--state", state]);
    t.equal(refused.code, 1);
    t.match(
      refused.err,
      `${server} belongs to another user of this machine (uid ${NOBODY}): the token in ${file} is not sent there`,
    );
    await runCli([...get, "--token-file", file]);
    await untilGot("Bearer wat_secret\n");
    t.equal(got(), "Bearer wat_secret\n", "of two requests the named one's");
  },
);

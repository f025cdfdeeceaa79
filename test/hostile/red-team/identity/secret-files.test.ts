/** No command uses a key or a token that others on the machine can have read. */
import { chmodSync, chownSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  runCli,
  withServer,
  type Ran,
} from "../../../support/control-plane/cli.ts";
import { fakeAuthority } from "../../../support/certificates/certificate-authority.ts";

const MESH =
  "apiVersion: mesh.wherry.dev/v1alpha1\nkind: Mesh\nmetadata: {name: default}\nspec: {authorization: {defaultAction: ALLOW}}\n";
const QUIET = ["--log-level", "silent"];
const ANY_PORTS = "outbound inbound link admin metrics"
  .split(" ")
  .flatMap((name) => [`--${name}-port`, "0"]);
const root = process.geteuid?.() === 0;

function temporary(t: Test): (name: string, text: string) => string {
  const directory = mkdtempSync(join(tmpdir(), "wherry-secret-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return (name, text) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
}

/** Runs a command that would run for ever; it is told to stop where it has started after all. */
function run(...argv: string[]): Promise<Ran> {
  return runCli(argv, { stop: AbortSignal.timeout(1500) });
}

/** The command is refused with the file open in each way, and not with it closed. */
async function onlyClosed(
  t: Test,
  file: string,
  attempt: () => Promise<Ran>,
): Promise<void> {
  for (const mode of [0o644, 0o604, 0o666, 0o602, 0o660]) {
    chmodSync(file, mode);
    const { code, err } = await attempt();
    t.equal(code, 1, `mode ${mode.toString(8)}: refused`);
    t.match(
      err,
      new RegExp(
        `is open to others \\(mode 0${mode.toString(8)}\\): run: chmod 600`,
      ),
    );
  }
  chmodSync(file, 0o600);
  const { err } = await attempt();
  t.notMatch(err, /open to others/, "mode 600: used");
}

void t.test("a private key", async (t) => {
  const put = temporary(t);
  const pems = fakeAuthority().issue({
    binding: { name: "web-1", labels: {} },
  });
  const key = put("web.key", pems.privateKey);
  const rest = [
    ...["--resources", put("mesh.yaml", MESH)],
    ...["--certificate", put("web.crt", pems.certificateChain)],
    ...["--trust-bundle", put("root.crt", pems.trustBundle)],
    ...["--host", "127.0.0.1", "--no-capture", ...QUIET, ...ANY_PORTS],
  ];
  await onlyClosed(t, key, () => run("sidecar", "--private-key", key, ...rest));
  const link = `${key}.link`;
  symlinkSync(key, link);
  chmodSync(key, 0o644);
  const { code } = await run("sidecar", "--private-key", link, ...rest);
  t.equal(code, 1, "nor by a link");
});

void t.test("an enrolment token", async (t) => {
  const put = temporary(t);
  const token = put("web.token", "garbage");
  const mesh = ["--control-plane", "127.0.0.1:9", ...QUIET, ...ANY_PORTS];
  const state = ["--state", join(token, "..", "state")];
  await onlyClosed(t, token, () =>
    run("sidecar", ...mesh, ...state, "--token-file", token),
  );
  const config = put("sidecar.yaml", "token: garbage\n");
  await onlyClosed(t, config, () =>
    run("sidecar", ...mesh, ...state, "--config", config),
  );
  const open = put("open.yaml", "name: web-1\ntoken-file: none\n");
  chmodSync(open, 0o644);
  t.notMatch(
    (await run("sidecar", ...mesh, ...state, "--config", open)).err,
    /open to others/,
    "a file of settings without a secret may be open",
  );
});

void t.test("an API token", async (t) => {
  const put = temporary(t);
  const sent: (string | undefined)[] = [];
  const server = await withServer(t, (request, response) => {
    sent.push(request.headers.authorization);
    response.statusCode = 403;
    response.end("{}");
  });
  const token = put("admin.token", "secret-of-the-administrator");
  const status = ["status", "--server", server];
  await onlyClosed(t, token, () =>
    runCli([...status, "--state", join(token, "..")]),
  );
  await onlyClosed(t, token, () => runCli([...status, "--token-file", token]));
  t.same(
    sent,
    Array(2).fill("Bearer secret-of-the-administrator"),
    "and nothing was sent with one that is open",
  );
});

void t.test("the key of the API", async (t) => {
  const put = temporary(t);
  const pems = fakeAuthority().issue();
  const key = put("api.key", pems.privateKey);
  const certificate = put("api.crt", pems.certificateChain);
  await onlyClosed(t, key, () =>
    run(
      "control-plane",
      ...["--state", join(key, "..", "state")],
      ...["--api", "127.0.0.1:0", "--push", "127.0.0.1:0"],
      ...["--api-certificate", certificate, "--api-key", key, ...QUIET],
    ),
  );
});

void t.test(
  "root's file may be readable by its group, as Kubernetes mounts a secret",
  { skip: !root && "needs root" },
  async (t) => {
    const put = temporary(t);
    const token = put("token", "garbage");
    chownSync(token, 0, 12_345);
    for (const mode of [0o440, 0o640]) {
      chmodSync(token, mode);
      const { err } = await runCli([
        ...["status", "--server", "http://127.0.0.1:9"],
        ...["--token-file", token],
      ]);
      t.notMatch(err, /open to others/);
    }
  },
);

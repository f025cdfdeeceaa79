// The image of `npm run image` under a real engine: small, without a shell, and content with an unprivileged user and a read-only root.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { packageVersion } from "../../src/runtime/package.ts";
import { ENGINE_MISSING, startEngine } from "../support/containers/engine.ts";
import { ROOT } from "../support/processes/demo.ts";
import { needs } from "../support/processes/tools.ts";
import { containersOf, PODS } from "../support/repository/manifests.ts";

/** MB to pull. */
const LARGEST = 60;
const TIGHT = ["--rm", "--network=none", "--read-only", "--cap-drop=ALL"];

void t.test("the image runs", needs(ENGINE_MISSING), async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-image-test-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const archive = join(folder, "wherry.tar");
  const said = execFileSync(
    process.execPath,
    [join(ROOT, "src/tools/image/main.ts"), "--tag=wherry:test", archive],
    { encoding: "utf8" },
  );
  const megabytes = Number(/ ([0-9.]+) MB,/.exec(said)?.[1]);
  t.ok(megabytes > 20 && megabytes <= LARGEST, said);
  const parts = readFileSync(join(folder, "wherry.cdx.json"), "utf8");
  t.match(JSON.parse(parts), { bomFormat: "CycloneDX" });
  t.match(parts, /"pkg:npm\/fastify@/);

  const engine = await startEngine();
  t.teardown(() => engine.close());
  await engine.must(["podman", "load", "--quiet", `--input=${archive}`]);
  const wherry = ["podman", "run", ...TIGHT, "wherry:test"];
  t.equal(
    (await engine.must([...wherry, "--version"])).trim(),
    packageVersion(),
  );

  const program = `
    require("/opt/wherry/node_modules/koffi").load("libc.so.6");
    const { writeFileSync } = require("node:fs");
    let written = "";
    try { writeFileSync("/opt/wherry/x", ""); } catch ({ code }) { written = code; }
    [process.getuid(), written, require("node:sqlite") !== undefined].join(" ");`;
  const node = await engine.must([
    ...["podman", "run", ...TIGHT, "--entrypoint=/usr/bin/node"],
    ...["wherry:test", "--print", program],
  ]);
  t.equal(node.trim(), "1337 EROFS true");

  // As the init container of a pod runs it.
  const [rules] = PODS.flatMap(containersOf).filter(
    ({ name }) => name === "intercept",
  );
  t.match(
    await engine.must([
      ...["podman", "run", ...TIGHT, "--security-opt=no-new-privileges"],
      ...["--user=0:0", "--cap-add=NET_ADMIN"],
      ...["wherry:test", ...(rules?.args ?? [])],
    ]),
    /^captured: .* by nft/,
  );

  const shell = await engine.run([
    ...["podman", "run", ...TIGHT, "--entrypoint=/bin/sh", "wherry:test"],
  ]);
  t.not(shell.code, 0);
  t.match(shell.err, /no such file or directory/);
});

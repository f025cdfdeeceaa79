/** Jaeger's program as an image: registries are not reached from everywhere. Nothing of it is compressed, as it goes nowhere. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { librariesOf } from "../../../src/tools/image/libraries.ts";
import type { Engine } from "./engine.ts";

/** `folder`: one that is not there. Resolves once the engine has the image. */
export async function importJaeger(
  engine: Engine,
  program: string,
  reference: string,
  folder: string,
): Promise<void> {
  const put = (from: string, path: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(from, join(folder, path));
  };
  put(program, "jaeger");
  for (const { path } of librariesOf([program])) put(realpathSync(path), path);
  mkdirSync(join(folder, "tmp"));
  chmodSync(join(folder, "tmp"), 0o1777);
  const archive = `${folder}.tar`;
  const inFolder = [`--directory=${folder}`, "--owner=0", "--group=0", "."];
  execFileSync("tar", ["--create", `--file=${archive}`, ...inFolder]);
  await engine.must([
    ...["podman", "import", "--quiet"],
    ...["--change=USER 1337:1337", '--change=ENTRYPOINT ["/jaeger"]'],
    ...["--change=STOPSIGNAL SIGTERM", archive, reference],
  ]);
  for (const each of [folder, archive]) rmSync(each, { recursive: true });
}

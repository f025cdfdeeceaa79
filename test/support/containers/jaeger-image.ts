/** Jaeger's program as an image, made as Wherry's is: registries are not reached from everywhere. */
import { copyFileSync, mkdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { ARCHITECTURES } from "../../../src/tools/image/config.ts";
import { librariesOf } from "../../../src/tools/image/libraries.ts";
import { writeImage } from "../../../src/tools/image/oci.ts";

/** `folder`: an empty one. Resolves with the archive's path. */
export async function makeJaegerImage(
  program: string,
  reference: string,
  folder: string,
): Promise<string> {
  const files = join(folder, "files");
  const put = (from: string, path: string): void => {
    mkdirSync(dirname(join(files, path)), { recursive: true });
    copyFileSync(from, join(files, path));
  };
  put(program, "jaeger");
  for (const { path } of librariesOf([program])) put(realpathSync(path), path);
  mkdirSync(join(files, "tmp"));
  const archive = join(folder, "jaeger.tar");
  await writeImage(
    {
      reference,
      architecture: ARCHITECTURES[process.arch] ?? "",
      created: "2026-01-01T00:00:00Z",
      layers: [
        {
          folder: files,
          about: "Jaeger",
          folders: [{ path: "tmp", user: 0, mode: "1777" }],
        },
      ],
      config: {
        User: "1337:1337",
        Entrypoint: ["/jaeger"],
        Env: [],
        WorkingDir: "/",
        StopSignal: "SIGTERM",
      },
    },
    join(folder, "parts"),
    archive,
  );
  return archive;
}

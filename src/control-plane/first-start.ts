/** What a control plane makes when it finds nothing: the Mesh, and a token for the first administrator. */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { systemCode, UserError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { readSecret, writeSecret } from "../core/secret-file.ts";
import { isKind } from "../resources/kind.ts";
import { MESH, MESH_NAME, meshSettings } from "../resources/mesh/schema.ts";
import type { Store } from "./store/store.ts";
import {
  hasAdministrator,
  newTokenText,
  readmitAdministrator,
  wasRevoked,
} from "./tokens.ts";

/** development lets calls through that no policy speaks of; production refuses them. */
export type Profile = "development" | "production";

export const ADMIN_TOKEN_FILE = "admin.token";

/** Makes the Mesh where there is none. Throws UserError where the one there is of another trust domain. */
export async function ensureMesh(
  store: Store,
  trustDomain: string,
  profile: Profile,
): Promise<void> {
  const key = { kind: MESH.kind, namespace: "", name: MESH_NAME };
  const found = await store.get(key);
  if (found === undefined) {
    await store.put(
      {
        apiVersion: MESH.apiVersion,
        kind: MESH.kind,
        metadata: { name: MESH_NAME },
        spec: {
          trustDomain,
          authorization: {
            defaultAction: profile === "production" ? "DENY" : "ALLOW",
          },
        },
      },
      "absent",
    );
    return;
  }
  const stored = meshSettings(isKind(MESH, found) ? found.spec : undefined);
  if (stored.trustDomain !== trustDomain)
    throw new UserError(
      `the store's Mesh is of trust domain ${stored.trustDomain}, and this control plane was started for ${trustDomain}: start it with the first, or with an empty state directory`,
    );
}

/**
 * Sees to it that somebody can administer. A store that has lost its administrators (or never had one) gets that of the token file,
 * so that the file goes on working when a database was lost; without a file, or with an empty one, or where its token was revoked, a new token is made.
 * Resolves with the file's path.
 */
export async function ensureAdministrator(
  store: Store,
  clock: Clock,
  logger: Logger,
  directory: string,
): Promise<string> {
  const file = join(directory, ADMIN_TOKEN_FILE);
  const text = await readToken(file);
  const wanted = text === "" || !(await hasAdministrator(store, clock));
  if (!wanted) return file;
  const isRevoked = await wasRevoked(store, text ?? "");
  if (text !== undefined && text !== "" && !isRevoked) {
    if (!(await readmitAdministrator(store, text)))
      throw new UserError(
        `${file} holds no API token: empty or remove it to have a new one made`,
      );
    logger.warn(
      { file },
      "the store had no administrator: the token of the file is one again",
    );
    return file;
  }
  const token = newTokenText();
  // The file comes first: a start that ended between the two would leave an administrator whose token nobody has.
  await writeSecret(file, token);
  await readmitAdministrator(store, token);
  logger.info(
    { file },
    isRevoked
      ? "the token of the file was revoked, and nobody else is an administrator by token: another one was made"
      : "an administrator's token was made",
  );
  return file;
}

/** "" of an empty file, undefined where there is none. */
async function readToken(file: string): Promise<string | undefined> {
  try {
    return (await readSecret(file, "the administrator's token")).trim();
  } catch (thrown) {
    if (thrown instanceof UserError && systemCode(thrown.cause) === "ENOENT")
      return undefined;
    throw thrown;
  }
}

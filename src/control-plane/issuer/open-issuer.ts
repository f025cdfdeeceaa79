/** Opens an external issuer as the operator has described it, and has the mesh's roots follow its own. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { ExternalIssuer } from "./external-issuer.ts";
import { httpSigner, type RemoteSigner } from "./http-issuer.ts";
import { IssuerClient, type IssuerServer } from "./issuer-client.ts";
import { openIssuerRoots } from "./issuer-roots.ts";
import { signedBy } from "./signed-by.ts";
import { vaultSigner, type VaultAccess } from "./vault-signer.ts";

export interface IssuerSettings {
  readonly rootsFile: string;
  /** Absent: the roots are trusted, and nothing is asked of an issuer. */
  readonly server?: IssuerServer & {
    readonly url: URL;
    readonly access:
      | { readonly kind: "http"; readonly tokenFile: string | undefined }
      | { readonly kind: "vault"; readonly by: VaultAccess };
  };
}

export interface OpenIssuer {
  readonly issuer: ExternalIssuer;
  /** Has each change of the roots told to `changed`, until that was taken. */
  follow(changed: () => Promise<void>): void;
  close(): Promise<void>;
}

/** Milliseconds. */
const RETRY = 1000;

/** Throws UserError. */
export async function openIssuer(
  { rootsFile, server }: IssuerSettings,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<OpenIssuer> {
  const followed = await openIssuerRoots({ file: rootsFile, clock, logger });
  const { roots } = followed;
  const client = server === undefined ? undefined : new IssuerClient(server);
  const signer =
    server === undefined || client === undefined
      ? undefined
      : signerOf(server, client, clock);
  let cancel = (): void => undefined;
  return {
    issuer: new ExternalIssuer({
      ...{ roots, clock },
      ...(signer === undefined || server === undefined
        ? {}
        : { signer, signedBy: signedBy(server.access.kind, server.url) }),
    }),
    follow(changed) {
      const tell = (): void => {
        cancel();
        changed().catch((thrown: unknown) => {
          logger.error(
            { reason: messageOf(thrown) },
            "the roots of the external issuer cannot be told to the sidecars",
          );
          cancel = clock.after(RETRY, tell);
        });
      };
      roots.subscribe(tell);
    },
    async close() {
      followed.close();
      cancel();
      await client?.close();
    },
  };
}

function signerOf(
  { url, access }: NonNullable<IssuerSettings["server"]>,
  client: IssuerClient,
  clock: Clock,
): RemoteSigner {
  return access.kind === "vault"
    ? vaultSigner(client, url, access.by, clock)
    : httpSigner(client, url, access.tokenFile);
}

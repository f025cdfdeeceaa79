/** Where a sidecar without a control plane gets its certificate from: PEM files, or the Workload API of an agent on this machine. */
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import {
  certificateFiles,
  type CertificateSource,
  type IdentityFiles,
} from "./file-certificate.ts";
import { directoriesOf, watchFiles } from "./watch-files.ts";

export interface FileIdentity {
  readonly source: CertificateSource;
  /** Each change from now on; one that came before counts at once. */
  follow(changed: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** `from`: the files, or the address of a Workload API. Throws UserError. */
export async function openFileIdentity(
  from: IdentityFiles | string,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<FileIdentity> {
  if (typeof from !== "string") return identityInFiles(from, clock);
  // gRPC is large, and files have no use for it.
  const { openWorkloadApi } = await import("./workload-api.ts");
  const api = openWorkloadApi({ address: from, clock, logger });
  return {
    source: {
      where: `from ${from}`,
      remedy: "see why its agent gives no other",
      read: () => api.read(),
    },
    follow(changed) {
      api.follow(changed);
      return Promise.resolve();
    },
    close: () => api.close(),
  };
}

function identityInFiles(files: IdentityFiles, clock: Clock): FileIdentity {
  const listed = [files.certificate, files.privateKey, files.trustBundle];
  let close = (): Promise<void> => Promise.resolve();
  return {
    source: certificateFiles(files),
    async follow(onChange) {
      const watcher = await watchFiles({
        list: () => Promise.resolve(listed),
        directories: directoriesOf(listed),
        ...{ clock, onChange },
      });
      close = () => watcher.close();
    },
    close: () => close(),
  };
}

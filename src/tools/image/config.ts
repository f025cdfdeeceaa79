/** What the image says of itself to an engine: user, program, environment. `config/docker/Dockerfile` says the same. */

import { fileURLToPath } from "node:url";
import { PACKAGE } from "../../runtime/package.ts";

/** The folder that the image is made of. */
export const CHECKOUT: string = fileURLToPath(PACKAGE);

/** That of `config/systemd/wherry.sysusers`: by it `wherry intercept` knows whose traffic is not to be captured. */
export const USER = 1337;

/** Where the package is. */
export const HOME = "opt/wherry";

/** Sets packet rules for `wherry intercept`, which an init container of a pod runs. Without capabilities it can do nothing. */
export const NFT = "/usr/sbin/nft";

/** Made for the user, with mode 0700: the state of a sidecar or a control plane, and the tokens that one gives to the other. */
export const STATE = "var/lib/wherry";
export const TOKENS = "run/wherry";

/** The field names are those of the OCI image specification. */
export interface RuntimeConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Env: readonly string[];
  readonly WorkingDir: string;
  readonly StopSignal: string;
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>>;
  readonly Labels?: Readonly<Record<string, string>>;
}

/** No shell is in the image: the program is named by its arguments. */
export const RUNTIME: RuntimeConfig = {
  User: `${USER}:${USER}`,
  Entrypoint: ["/usr/bin/node", `/${HOME}/wherry.js`],
  Env: ["PATH=/usr/bin:/usr/sbin", `WHERRY_STATE=/${STATE}`],
  WorkingDir: `/${STATE}`,
  StopSignal: "SIGTERM",
  ExposedPorts: {
    "15008/tcp": {},
    "15012/tcp": {},
    "15020/tcp": {},
  },
};

/** As OCI names machines; undefined for one that no image is made for. */
export const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: "amd64",
  arm64: "arm64",
};

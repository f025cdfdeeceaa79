/** What a provider that speaks TLS has to prove: its own name, and never the host of the request that it is asked about, which the caller chose. */
import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { splitHostPort } from "../../../core/text/host-port.ts";
import type { ProviderTls } from "../../../resources/mesh/providers.ts";

export interface ProvenName {
  /** What is looked for in its certificate. */
  readonly name: string;
  /** What is asked for; undefined for an address, which no server name can be (RFC 6066 3), and at which Node throws. */
  readonly serverName: string | undefined;
  /** In place of Node's: it would go by what was asked for, or connected to. */
  readonly check: (
    host: string,
    certificate: PeerCertificate,
  ) => Error | undefined;
}

export function provenName(address: string, tls: ProviderTls): ProvenName {
  const name = tls.serverName ?? splitHostPort(address).host;
  return {
    name,
    serverName: isIP(name) === 0 ? name : undefined,
    check: (_host, certificate) => checkServerIdentity(name, certificate),
  };
}

/** Where callers speak TLS though no sidecar is there, and the name that they ask the server for. */
import type { AppProtocol } from "../resources/service/schema.ts";
import type { ClientTls } from "../resources/traffic-policy/client-tls.ts";

/** What of a cluster decides. */
interface Reached {
  readonly appProtocol: AppProtocol;
  readonly settings: { readonly tls?: ClientTls };
}

/** Whether TLS is originated to the endpoint. A sidecar is called over the link; on a port for `tls` the application's own goes through. */
export function originatesTls(
  { settings, appProtocol }: Reached,
  { link }: { readonly link: number | undefined },
): boolean {
  return (
    settings.tls !== undefined && link === undefined && appProtocol !== "tls"
  );
}

/** The server name that is asked for: the policy's, or the host that callers know the endpoint by. */
export function serverNameOf(
  { sni }: ClientTls,
  { host, address }: { readonly host?: string; readonly address: string },
): string {
  return sni ?? host ?? address;
}

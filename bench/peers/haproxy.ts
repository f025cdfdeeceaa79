/** A pair of HAProxy as near to a mesh's sidecar as it comes: it knows no SPIFFE IDs and makes no spans. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  featuresWithout,
  INBOUND_PORT,
  OUTBOUND_PORT,
  pinnedTo,
  SERVER_PORT,
  type Found,
  type KeyPair,
  type PeerSettings,
} from "../peer.ts";
import { findProgram, says, versionIn } from "../tools.ts";

export async function haproxyPair(settings: PeerSettings): Promise<Found> {
  const binary = findProgram("haproxy");
  if (binary === undefined)
    return { kind: "missing", name: "HAProxy", why: "Debian: haproxy" };
  const { directory, certificates, apps } = settings;
  const caller = await joined(directory, "caller", certificates.caller);
  const callee = await joined(directory, "callee", certificates.callee);
  const app = apps === "h2" ? " proto h2" : "";
  const alpn = `alpn ${settings.link}`;
  const outbound = join(directory, "haproxy-outbound.cfg");
  const inbound = join(directory, "haproxy-inbound.cfg");
  await writeFile(
    outbound,
    `${common(settings)}
frontend out
  bind 127.0.0.1:${OUTBOUND_PORT}${app}
  default_backend peer
backend peer
  balance leastconn
  server peer 127.0.0.1:${INBOUND_PORT} ssl crt ${caller} ca-file ${certificates.root} verify required ${alpn} maxconn 1024 check inter 30s observe layer7 error-limit 5 on-error mark-down
`,
  );
  await writeFile(
    inbound,
    `${common(settings)}
frontend in
  bind 127.0.0.1:${INBOUND_PORT} ssl crt ${callee} ca-file ${certificates.root} verify required ${alpn}
  default_backend app
backend app
  server app 127.0.0.1:${SERVER_PORT}${app} maxconn 1024
`,
  );
  const cores = pinnedTo(settings.cores);
  return {
    kind: "peer",
    peer: {
      name: "HAProxy",
      version: versionIn(says("haproxy", "-v")),
      features: featuresWithout(
        "identity",
        "authorization",
        "tracing",
        ...(settings.link === "h2" ? [] : (["link-h2"] as const)),
      ),
      outbound: {
        name: "HAProxy, outbound",
        command: binary,
        args: ["-db", "-f", outbound],
        port: OUTBOUND_PORT,
        ...cores,
      },
      inbound: {
        name: "HAProxy, inbound",
        command: binary,
        args: ["-db", "-f", inbound],
        port: INBOUND_PORT,
        ...cores,
      },
    },
  };
}

/** The log goes to standard output, and that is /dev/null. */
function common({ workers }: PeerSettings): string {
  return `global
  nbthread ${workers}
  maxconn 8000
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  log global
  log-format '{"method":"%HM","path":"%HP","status":%ST,"flags":"%ts","duration":%Ta,"bytes":%B,"upstream":"%si:%sp"}'
  retries 2
  retry-on conn-failure empty-response response-timeout 500 502 503 504
  http-reuse always
  timeout connect 1s
  timeout client 1h
  timeout server 2s
  timeout http-keep-alive 1h`;
}

/** HAProxy wants chain and key in one file. */
async function joined(
  directory: string,
  name: string,
  pair: KeyPair,
): Promise<string> {
  const file = join(directory, `${name}-haproxy.pem`);
  const parts = [
    await readFile(pair.certificate, "utf8"),
    await readFile(pair.key, "utf8"),
  ];
  await writeFile(file, parts.join("\n"), { mode: 0o600 });
  return file;
}

/** What TLS with servers that are not sidecars starts from: the roots that are trusted and the certificate that is shown, made once for equal settings. */
import { createHash, type X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { env } from "node:process";
import { createSecureContext, type SecureContext } from "node:tls";
import { messageOf } from "../../core/errors.ts";
import { readSecret } from "../../core/secret-file.ts";
import { uriNames } from "../../identity/extensions.ts";
import { readCertificates } from "../../identity/pem.ts";
import type { ClientTls } from "../../resources/traffic-policy/client-tls.ts";

export interface OutsideContext {
  readonly secure: SecureContext;
}

interface Shown {
  readonly certificate: string;
  readonly privateKey: string;
}

/** Contexts at most: beyond them the oldest is made anew when it is asked for. */
const MOST = 64;
/** Bytes of a file. */
const LONGEST = 1024 * 1024;

/** By a digest of the texts that it was made of. */
const contexts = new Map<string, OutsideContext>();

/** `now` in wall milliseconds. The files are read each time, so that a renewed certificate is shown to the next server. Throws where they cannot be used. */
export async function outsideContext(
  tls: ClientTls,
  now: number,
): Promise<OutsideContext> {
  const shown = await shownBy(tls, now);
  const ca = tls.caBundle ?? (await machineRoots());
  const key = createHash("sha256")
    .update(JSON.stringify([ca ?? "", shown ?? ""]))
    .digest("base64");
  let context = contexts.get(key);
  if (context === undefined) {
    const [oldest] = contexts.keys();
    if (contexts.size >= MOST && oldest !== undefined) contexts.delete(oldest);
    context = { secure: made(ca, shown) };
    contexts.set(key, context);
  }
  return context;
}

/** `ca` undefined: the roots that Node comes with. */
function made(ca: string | undefined, shown: Shown | undefined): SecureContext {
  return createSecureContext({
    ...(ca === undefined ? {} : { ca }),
    ...(shown === undefined
      ? {}
      : { cert: shown.certificate, key: shown.privateKey }),
    minVersion: "TLSv1.2",
  });
}

/** Where systems have their roots in one file: Debian, Fedora, SUSE, Alpine. Node's own look-up stops the process for 0.2 s. */
const ROOTS: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

let known: { readonly mark: string; readonly pem: string } | undefined;

/** The roots of this machine, read again when they have changed; undefined of an image without. */
async function machineRoots(): Promise<string | undefined> {
  const named = env["SSL_CERT_FILE"];
  for (const path of named === undefined ? ROOTS : [named]) {
    const stats = await stat(path).catch(() => undefined);
    if (stats?.isFile() !== true) continue;
    const mark = `${path} ${stats.mtimeMs} ${stats.size}`;
    if (known?.mark !== mark)
      known = { mark, pem: await readFile(path, "utf8") };
    return known.pem;
  }
  if (named !== undefined)
    throw new Error(`the roots of SSL_CERT_FILE, ${named}, cannot be read`);
  return undefined;
}

async function shownBy(
  { mode, clientCertificate, privateKey }: ClientTls,
  now: number,
): Promise<Shown | undefined> {
  if (mode === "SIMPLE") return undefined;
  if (clientCertificate === undefined || privateKey === undefined)
    throw new Error("MUTUAL without a client certificate and its key");
  await ofAFile(clientCertificate, "the client certificate");
  await ofAFile(privateKey, "the private key");
  const certificate = await readFile(clientCertificate, "utf8");
  const what = `the client certificate ${clientCertificate}`;
  const [leaf] = readCertificates(certificate, what);
  if (leaf !== undefined) checkShown(leaf, what, now);
  return {
    certificate,
    privateKey: await readSecret(privateKey, "the private key"),
  };
}

/** What is not a file of a sensible length could be read without end. */
async function ofAFile(path: string, what: string): Promise<void> {
  const stats = await stat(path).catch((thrown: unknown) => {
    throw new Error(`${what} ${path}: ${messageOf(thrown)}`, { cause: thrown });
  });
  if (!stats.isFile()) throw new Error(`${what} ${path}: it is not a file`);
  if (stats.size > LONGEST)
    throw new Error(`${what} ${path}: over ${LONGEST} bytes`);
}

/** Policy names the file: an identity of a mesh is not for servers outside it. */
function checkShown(leaf: X509Certificate, what: string, now: number): void {
  if (uriNames(leaf).some((uri) => /^spiffe:/i.test(uri)))
    throw new Error(
      `${what}: a mesh identity is not shown to servers outside the mesh`,
    );
  if (now > leaf.validToDate.getTime())
    throw new Error(`${what}: it ended at ${leaf.validToDate.toISOString()}`);
}

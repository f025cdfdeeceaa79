/** An HTTP server that signs certificates as it is asked, or answers what the test says. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { readCsr } from "../../../src/identity/csr.ts";
import { Oid } from "../../../src/identity/extensions.ts";
import type { Issuer } from "../../../src/identity/x509.ts";
import {
  ia5,
  leafExtensions,
  namesOf,
  oddCertificate,
  otherName,
  utc,
  utcText,
  type OddExtension,
} from "./odd-certificates.ts";

export interface Call {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Record<string, unknown>;
}

/** A status and its body, or nothing: then nobody answers. */
export type Reply = readonly [number, unknown] | undefined;

export interface SigningServer {
  readonly url: string;
  readonly calls: Call[];
  close(): Promise<void>;
}

export async function startSigningServer(
  reply: (call: Call) => Reply | Promise<Reply>,
): Promise<SigningServer> {
  const calls: Call[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const call = {
        path: request.url ?? "",
        headers: request.headers,
        body: JSON.parse(Buffer.concat(chunks).toString()) as Call["body"],
      };
      calls.push(call);
      const answer = await reply(call);
      if (answer === undefined) return;
      const [status, body] = answer;
      response.writeHead(status, { location: "http://127.0.0.1:1/" });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    })();
  });
  await listening(server);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
}

/** A leaf for the key of a request. */
export function leafFor(
  csr: string,
  issuer: Issuer,
  parts: {
    readonly from: number;
    readonly to: number;
    readonly extensions: Readonly<Record<string, OddExtension>>;
    readonly commonName?: string;
    readonly digest?: "sha1";
  },
): string {
  return oddCertificate({
    issuer,
    ...(parts.digest === undefined ? {} : { digest: parts.digest }),
    ...(parts.commonName === undefined ? {} : { commonName: parts.commonName }),
    publicKey: readCsr(csr),
    extensions: Object.values(parts.extensions),
    validity: [utc(utcText(parts.from)), utc(utcText(parts.to))],
  }).pem;
}

/** What answers the documented call. */
export function signsAsAsked(
  issuer: Issuer,
  above: string,
): (call: Call) => Reply {
  return ({ body }) => {
    const { csr, spiffeId, notBefore, notAfter, binding } = body as Record<
      string,
      string
    > & { binding: { oid: string; extension: string } };
    const leaf = leafFor(csr ?? "", issuer, {
      from: Date.parse(notBefore ?? ""),
      to: Date.parse(notAfter ?? ""),
      extensions: {
        ...leafExtensions(spiffeId ?? ""),
        bound: {
          oid: binding.oid,
          value: Buffer.from(binding.extension, "base64"),
        },
      },
    });
    return [200, { certificateChain: leaf + above }];
  };
}

/** What `sign/ROLE` of Vault's PKI answers, with a role that is set up as the guide says; `subject` "": without its organization. */
export function signsAsVault(
  issuer: Issuer,
  above: readonly string[],
  now: () => number,
  subject = "mesh",
): (call: Call) => Reply {
  return ({ body }) => {
    const {
      csr = "",
      uri_sans: uri = "",
      other_sans: other = "",
      ttl = "",
    } = body as Record<string, string>;
    const [oid = "", value = "", ...more] = other.split(";");
    const [type, text = "", ...rest] = value.split(":");
    // Vault takes it apart so, and refuses what has more of either.
    if (oid !== Oid.BINDING || type !== "UTF8" || more.length + rest.length > 0)
      return [400, { errors: [`other SAN ${other} not allowed by this role`] }];
    const certificate = leafFor(csr, issuer, {
      from: now() - 3_630_000,
      to: now() + Number(/^(\d+)s$/.exec(ttl)?.[1]) * 1000,
      ...(subject === "" ? {} : { commonName: subject }),
      extensions: {
        ...leafExtensions(uri),
        // Not critical, whatever the subject: Vault puts the names together itself.
        name: {
          ...namesOf(otherName(oid, text), ia5(0x86, uri)),
          critical: false,
        },
      },
    }).trim();
    return [
      200,
      {
        request_id: "1",
        lease_id: "",
        renewable: false,
        lease_duration: 0,
        data: {
          certificate,
          issuing_ca: above[0],
          ca_chain: above,
          serial_number: "39:dd:2e",
          expiration: 1,
        },
        warnings: null,
      },
    ];
  };
}

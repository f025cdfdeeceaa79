/** A server of TLS 1.3 of which a test has the secret and the socket below: it can send what TLS alone would. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import type { CredentialPems } from "../../../src/identity/credentials.ts";
import type { Sender } from "./records.ts";

export interface HiddenPeer {
  readonly tls: TLSSocket;
  /** Below TLS. */
  readonly raw: Socket;
  readonly sender: Sender;
}

export interface HiddenServer {
  readonly port: number;
  /** The next connection, after its handshake. */
  accept(): Promise<HiddenPeer>;
  close(): void;
}

export async function hiddenServer({
  certificateChain: cert,
  privateKey: key,
}: CredentialPems): Promise<HiddenServer> {
  const secureContext = createSecureContext({
    ...{ cert, key, minVersion: "TLSv1.3" },
    ciphers: "TLS_AES_128_GCM_SHA256",
  });
  const open = new Set<Socket>();
  const peers: Promise<HiddenPeer>[] = [];
  const server = createServer((raw) => {
    open.add(raw);
    peers.push(shaken(raw));
    server.emit("peer");
  });
  const shaken = async (raw: Socket): Promise<HiddenPeer> => {
    const tls = new TLSSocket(raw, {
      ...{ isServer: true, secureContext, requestCert: true },
      ...{ rejectUnauthorized: false, ALPNProtocols: ["h2"] },
    });
    tls.on("error", () => undefined);
    raw.on("error", () => undefined);
    let secret = Buffer.alloc(0);
    tls.on("keylog", (line: Buffer) => {
      const [label, , hex = ""] = line.toString().trim().split(" ");
      if (label === "SERVER_TRAFFIC_SECRET_0") secret = Buffer.from(hex, "hex");
    });
    await once(tls, "secure");
    return { tls, raw, sender: { secret, sequence: 0 } };
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async accept() {
      if (peers.length === 0) await once(server, "peer");
      const peer = peers.shift();
      if (peer === undefined) throw new Error("no connection");
      return peer;
    },
    close() {
      for (const raw of open) raw.destroy();
      server.close();
    },
  };
}

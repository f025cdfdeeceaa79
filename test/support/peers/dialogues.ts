/** WebSockets and gRPC streams that stay open while something happens to the sidecars on their way, and how each of them ends. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { eventually } from "./call.ts";
import { EchoStream, echoApplication } from "./echo-stream.ts";
import {
  closeOf,
  frame,
  handshake,
  RawClient,
  WebSocketApplication,
} from "./websocket.ts";

/** Milliseconds, where the machine is slow. */
const WITHIN = 60_000;
const CLOSE = 8;
const MESSAGE: Buffer = frame(0x81, Buffer.from("hello"), true);
const OWN_CLOSE: Buffer = frame(0x88, Buffer.from([3, 0xe9]), true);

interface DialogueService {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: unknown;
}

export interface DialogueServers {
  /** `--app-port` of the sidecars in front of them. */
  readonly options: readonly string[];
  /** The Services that `Dialogues` calls, in namespace shop, of the instances with label `app: orders`. */
  readonly services: readonly DialogueService[];
  close(): void;
}

/** Applications that repeat what they are sent. */
export async function startDialogueServers(): Promise<DialogueServers> {
  const chat = createServer(new WebSocketApplication().accept);
  const echo = echoApplication();
  const options: string[] = [];
  const services: DialogueService[] = [];
  for (const [name, server, appProtocol] of [
    ["chat", chat, "http"],
    ["echo", echo, "grpc"],
  ] as const) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    options.push("--app-port", `${name}=${port}`);
    services.push({
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Service",
      metadata: { name, namespace: "shop" },
      spec: {
        ports: [{ name: "main", port: 80, targetPort: port, appProtocol }],
        selector: { app: "orders" },
      },
    });
  }
  return {
    options,
    services,
    close() {
      chat.close();
      echo.close();
    },
  };
}

export class Dialogues {
  readonly #count: number;
  #chats: RawClient[] = [];
  readonly #echoes: EchoStream[] = [];

  /** So many of each sort. */
  constructor(count: number) {
    this.#count = count;
  }

  /** Opens what is missing, by a sidecar's outbound port. */
  async open(port: number): Promise<void> {
    while (this.#chats.length < this.#count)
      this.#chats.push(await openChat(port));
    while (this.#echoes.length < this.#count)
      this.#echoes.push(await openEcho(port));
  }

  /** Resolves once each WebSocket has ended, with the codes of their Closes. */
  async closes(): Promise<readonly string[]> {
    for (const client of this.#chats)
      await eventually(
        "a WebSocket ends",
        WITHIN,
        () => Promise.resolve(client.closed || isClosing(client)),
        (is) => is,
      );
    return this.#chats.splice(0).map(howClosed);
  }

  /** The codes of those that have ended. The others stay: each still repeats a message. */
  async closesSoFar(): Promise<readonly string[]> {
    const closes: string[] = [];
    const open: RawClient[] = [];
    for (const client of this.#chats) {
      if (!client.closed && !isClosing(client)) {
        client.frames.splice(0);
        client.socket.write(MESSAGE);
        await eventually(
          "a message comes back",
          WITHIN,
          () => Promise.resolve(client.closed || client.frames.length > 0),
          (is) => is,
        );
      }
      if (client.closed || isClosing(client)) closes.push(howClosed(client));
      else open.push(client);
    }
    this.#chats = open;
    return closes;
  }

  /** Leaves those that are open. */
  close(): void {
    for (const { socket } of this.#chats.splice(0)) socket.destroy();
    for (const stream of this.#echoes.splice(0)) stream.destroy();
  }

  /** Each stream still repeats what it is sent, and ends in order. */
  async ends(): Promise<{
    readonly ends: readonly string[];
    readonly withGoaway: number;
  }> {
    const echoes = this.#echoes.splice(0);
    const withGoaway = echoes.filter(({ goaway }) => goaway).length;
    const ends: string[] = [];
    for (const stream of echoes) {
      await talk(stream);
      stream.end();
      const how = await eventually(
        "a stream ends",
        WITHIN,
        () => Promise.resolve(stream.ended),
        (ended) => ended !== undefined,
      );
      ends.push(String(how));
      stream.destroy();
    }
    return { ends, withGoaway };
  }
}

function isClosing({ frames }: RawClient): boolean {
  return ((frames.at(-1)?.first ?? 0) & 0x0f) === CLOSE;
}

function howClosed(client: RawClient): string {
  const last = client.frames.at(-1);
  return last !== undefined && isClosing(client)
    ? String(closeOf(last).code)
    : "broken off";
}

/** Tried again: a sidecar may not have heard of the Service yet. */
async function openChat(port: number): Promise<RawClient> {
  for (;;) {
    const text = handshake({ Host: "chat.shop" });
    const client = await RawClient.open(port, text);
    await eventually(
      "a handshake has its response",
      WITHIN,
      () => Promise.resolve(client.status),
      (status) => status !== 0,
    );
    if (client.status === 101) {
      // A Close is replied to, as any client does.
      client.socket.on("data", () => {
        if (isClosing(client)) client.socket.end(OWN_CLOSE);
      });
      return client;
    }
    client.socket.destroy();
  }
}

async function openEcho(port: number): Promise<EchoStream> {
  for (;;) {
    const stream = new EchoStream(port, "echo.shop");
    try {
      await talk(stream);
      return stream;
    } catch {
      stream.destroy();
    }
  }
}

/** A message there and back. */
async function talk(stream: EchoStream): Promise<void> {
  const wanted = stream.received + stream.send();
  await eventually(
    "a message comes back",
    WITHIN,
    () => Promise.resolve(stream),
    ({ received, ended }) => {
      if (ended !== undefined) throw new Error(`it has ended: ${ended}`);
      return received === wanted;
    },
  );
}

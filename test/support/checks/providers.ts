/** Providers of authorization that a test scripts: one speaks HTTP, one gRPC, both say what they were asked. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
} from "node:http";
import {
  Server as GrpcServer,
  ServerCredentials,
  type sendUnaryData,
} from "@grpc/grpc-js";
import protobuf from "protobufjs/light.js";
import { listening } from "../meshes/pair.ts";

export interface HttpAsked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface ScriptedHttp {
  readonly address: string;
  readonly asked: HttpAsked[];
  /** What it does with the next requests, once their bodies are there. */
  answer: RequestListener;
  close(): Promise<void>;
}

export async function httpScript(
  answer: RequestListener,
): Promise<ScriptedHttp> {
  const asked: HttpAsked[] = [];
  const script = { asked, answer, address: "", close: () => Promise.resolve() };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("error", () => undefined);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      asked.push({
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString("latin1"),
      });
      script.answer(request, response);
    });
  });
  script.address = `127.0.0.1:${await listening(server)}`;
  script.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return script;
}

/** As a client of protobuf sees `CheckRequest`: written anew, so that a wrong number in ours does not cancel out. */
const PROTO = {
  nested: {
    CheckRequest: { fields: { attributes: { type: "Context", id: 1 } } },
    Context: {
      fields: {
        source: { type: "Peer", id: 1 },
        destination: { type: "Peer", id: 2 },
        request: { type: "Request", id: 4 },
      },
    },
    Peer: {
      fields: {
        address: { type: "Address", id: 1 },
        principal: { type: "string", id: 4 },
      },
    },
    Address: { fields: { socket: { type: "Socket", id: 1 } } },
    Socket: {
      fields: {
        address: { type: "string", id: 2 },
        port: { type: "uint32", id: 3 },
      },
    },
    Request: { fields: { http: { type: "Http", id: 2 } } },
    Http: {
      fields: {
        method: { type: "string", id: 2 },
        headers: { keyType: "string", type: "string", id: 3 },
        path: { type: "string", id: 4 },
        host: { type: "string", id: 5 },
        size: { type: "int64", id: 9 },
        protocol: { type: "string", id: 10 },
        body: { type: "string", id: 11 },
        rawBody: { type: "bytes", id: 12 },
      },
    },
    CheckResponse: {
      fields: {
        status: { type: "Status", id: 1 },
        denied: { type: "Denied", id: 2 },
        ok: { type: "Ok", id: 3 },
      },
    },
    Status: { fields: { code: { type: "int32", id: 1 } } },
    Denied: {
      fields: {
        status: { type: "Status", id: 1 },
        headers: { rule: "repeated", type: "Option", id: 2 },
        body: { type: "string", id: 3 },
      },
    },
    Ok: {
      fields: {
        headers: { rule: "repeated", type: "Option", id: 2 },
        remove: { rule: "repeated", type: "string", id: 5 },
        response: { rule: "repeated", type: "Option", id: 6 },
        queryToRemove: { rule: "repeated", type: "string", id: 8 },
      },
    },
    Option: {
      fields: {
        header: { type: "Header", id: 1 },
        append: { type: "Bool", id: 2 },
      },
    },
    Header: {
      fields: {
        key: { type: "string", id: 1 },
        value: { type: "string", id: 2 },
      },
    },
    Bool: { fields: { value: { type: "bool", id: 1 } } },
  },
} as const;

const root = protobuf.Root.fromJSON(structuredClone(PROTO));
const requestType = root.lookupType("CheckRequest");
const responseType = root.lookupType("CheckResponse");

export interface GrpcAsked {
  readonly attributes: {
    readonly source: { readonly principal: string };
    readonly destination: {
      readonly principal: string;
      readonly address: { readonly socket: { readonly port: number } };
    };
    readonly request: {
      readonly http?: {
        readonly method: string;
        readonly path: string;
        readonly host: string;
        readonly headers: Readonly<Record<string, string>>;
        readonly body: string;
        readonly rawBody: Buffer;
      };
    };
  };
}

export interface ScriptedGrpc {
  readonly address: string;
  readonly asked: GrpcAsked[];
  /** What it answers: a message, bytes that may be none, or never. */
  answer: (asked: GrpcAsked) => object | Buffer | undefined;
  close(): void;
}

export async function grpcScript(
  answer: ScriptedGrpc["answer"],
  credentials: ServerCredentials = ServerCredentials.createInsecure(),
): Promise<ScriptedGrpc> {
  const asked: GrpcAsked[] = [];
  const server = new GrpcServer();
  const script = {
    asked,
    answer,
    address: "",
    close: () => server.forceShutdown(),
  };
  server.addService(
    {
      Check: {
        path: "/envoy.service.auth.v3.Authorization/Check",
        requestStream: false,
        responseStream: false,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) =>
          requestType.toObject(requestType.decode(bytes), {
            defaults: true,
            longs: Number,
          }),
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    },
    {
      Check: (call: { request: GrpcAsked }, done: sendUnaryData<Buffer>) => {
        asked.push(call.request);
        const said = script.answer(call.request);
        if (said === undefined) return;
        done(
          null,
          Buffer.isBuffer(said)
            ? said
            : Buffer.from(
                responseType.encode(responseType.fromObject(said)).finish(),
              ),
        );
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  script.address = `127.0.0.1:${port}`;
  return script;
}

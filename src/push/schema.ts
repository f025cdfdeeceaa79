/** The protobuf types behind `messages.ts`, by field number: Envoy's for discovery, ours for what travels in it. The numbers are the wire format and never change. */
import type protobuf from "protobufjs/light.js";
import { many, map, messageTypes, one, type Field } from "./message-types.ts";

const TYPES: Readonly<Record<string, readonly Field[]>> = {
  // google.protobuf.Value and Struct; the node's metadata holds strings alone.
  Value: [one(3, "string", "string")],
  Struct: [map(1, "fields", "Value")],
  // google.protobuf.Any
  Any: [one(1, "typeUrl", "string"), one(2, "value", "bytes")],
  // google.rpc.Status
  Status: [one(1, "code", "int32"), one(2, "message", "string")],
  // envoy.config.core.v3.Node
  Node: [one(1, "id", "string"), one(3, "metadata", "Struct")],
  // envoy.service.discovery.v3
  DiscoveryResource: [
    one(1, "version", "string"),
    one(2, "resource", "Any"),
    one(3, "name", "string"),
  ],
  DeltaRequest: [
    one(1, "node", "Node"),
    one(2, "typeUrl", "string"),
    many(3, "subscribe", "string"),
    many(4, "unsubscribe", "string"),
    map(5, "initialVersions", "string"),
    one(6, "nonce", "string"),
    one(7, "error", "Status"),
    // Ours: an older control plane skips them.
    one(1001, "unreadCount", "uint32"),
    many(1002, "unread", "Unread"),
  ],
  // wherry.push.v1
  Unread: [
    one(1, "resource", "string"),
    many(2, "fields", "string"),
    one(3, "instead", "string"),
  ],
  DeltaResponse: [
    one(1, "systemVersion", "string"),
    many(2, "resources", "DiscoveryResource"),
    one(4, "typeUrl", "string"),
    one(5, "nonce", "string"),
    many(6, "removed", "string"),
  ],
  // wherry.push.v1
  PushedResource: [
    one(1, "kind", "string"),
    one(2, "namespace", "string"),
    one(3, "name", "string"),
    one(4, "json", "bytes"),
  ],
  Lookup: [many(1, "services", "string")],
  Revision: [
    one(1, "store", "string"),
    one(2, "revision", "uint64"),
    one(3, "digest", "string"),
    one(4, "accepted", "bool"),
    one(5, "selective", "bool"),
    one(6, "branch", "string"),
    one(7, "parted", "bool"),
  ],
  // A Revision within a response to a sidecar of schema 3.
  Closing: [
    one(1, "store", "string"),
    one(2, "revision", "uint64"),
    one(3, "digest", "bytes"),
    one(4, "accepted", "bool"),
    one(5, "selective", "bool"),
    one(6, "branch", "string"),
    one(7, "parted", "bool"),
  ],
  EnrolRequest: [
    one(1, "token", "string"),
    one(2, "csr", "string"),
    one(3, "name", "string"),
  ],
  RenewRequest: [one(1, "csr", "string")],
  IssueResponse: [
    one(1, "certificateChain", "string"),
    one(2, "trustBundle", "string"),
    one(3, "time", "uint64"),
    one(4, "trust", "bytes"),
  ],
  SignedTrust: [
    one(1, "statement", "bytes"),
    one(2, "signature", "bytes"),
    one(3, "signers", "string"),
  ],
  RegisterRequest: [one(1, "spec", "string")],
  RegisterResponse: [one(1, "workload", "string")],
  ReportRequest: [many(1, "reached", "string"), many(2, "unreached", "string")],
  ObservedCall: [
    one(1, "policy", "string"),
    one(2, "effect", "string"),
    one(3, "peer", "string"),
    one(4, "address", "string"),
    one(5, "port", "uint32"),
    one(6, "method", "string"),
    one(7, "host", "string"),
    one(8, "path", "string"),
    one(9, "count", "uint64"),
    one(10, "firstAge", "uint64"),
    one(11, "lastAge", "uint64"),
  ],
  Observed: [many(1, "calls", "ObservedCall"), one(2, "dropped", "uint64")],
  OutsideCall: [
    one(1, "verdict", "string"),
    one(2, "service", "string"),
    one(3, "host", "string"),
    one(4, "port", "uint32"),
    one(5, "name", "string"),
    one(6, "count", "uint64"),
    one(7, "firstAge", "uint64"),
    one(8, "lastAge", "uint64"),
  ],
  Outside: [many(1, "calls", "OutsideCall"), one(2, "dropped", "uint64")],
  Empty: [],
};

export const messageType: (name: string) => protobuf.Type = messageTypes(TYPES);

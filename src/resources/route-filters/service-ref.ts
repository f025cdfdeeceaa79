/** How routes and their filters name a Service: the fields that all of them share. */
import Type, {
  type TInteger,
  type TOptional,
  type TString,
  type TUnsafe,
} from "typebox";
import { DNS_LABEL, DNS_NAME, field, PORT } from "../schema-parts.ts";

export const SERVICE_NAME: {
  readonly group: TOptional<TUnsafe<"" | "core" | "mesh.wherry.dev">>;
  readonly namespace: TOptional<TString>;
  readonly name: TString;
} = {
  group: field(
    "The API group of Service. All three mean the same.",
    Type.Optional(Type.Unsafe(Type.Enum(["", "core", "mesh.wherry.dev"]))),
  ),
  namespace: field(
    "The namespace of the Service. Without it, the route's own.",
    Type.Optional(Type.String(DNS_LABEL)),
  ),
  name: field("The name of the Service.", Type.String(DNS_NAME)),
};
export const SERVICE_KIND: TOptional<TUnsafe<"Service">> = field(
  "Service.",
  Type.Optional(Type.Unsafe(Type.Enum(["Service"]))),
  "Service",
);
export const SERVICE_PORT: TInteger = field(
  "The number of the Service's port.",
  Type.Integer(PORT),
);

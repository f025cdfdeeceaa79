/** Protobuf types by field number, without generated code. */
import protobuf from "protobufjs/light.js";

export type Field = protobuf.Field | protobuf.MapField;

export const one = (id: number, name: string, type: string): Field =>
  new protobuf.Field(name, id, type);
export const many = (id: number, name: string, type: string): Field =>
  new protobuf.Field(name, id, type, "repeated");
export const map = (id: number, name: string, type: string): Field =>
  new protobuf.MapField(name, id, "string", type);

/** Gives each of the types by its name. */
export function messageTypes(
  types: Readonly<Record<string, readonly Field[]>>,
): (name: string) => protobuf.Type {
  const root = new protobuf.Root();
  for (const [name, fields] of Object.entries(types)) {
    const type = new protobuf.Type(name);
    for (const field of fields) type.add(field);
    root.add(type);
  }
  return (name) => root.lookupType(name);
}
